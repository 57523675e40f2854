"""System call filters: three tiers, written once, for both back ends."""

from mcps_launcher.sandbox.seccomp.profile import compile_bpf, oci_profile

__all__ = ["compile_bpf", "oci_profile"]
