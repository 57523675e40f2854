"""Sandboxes: one plan, two back ends, and a self-test that reads back what holds.

A door: the signer captures tools in the same strict sandbox.
"""

from mcps_launcher.sandbox.plan import Plan
from mcps_launcher.sandbox.process import BackEnd, Process, SelfTest
from mcps_launcher.sandbox.strict import APP, BYTECODE, strict_plan

__all__ = ["APP", "BYTECODE", "BackEnd", "Plan", "Process", "SelfTest", "strict_plan"]
