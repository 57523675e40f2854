"""Our bundles and our repository, read by other people's verifiers: sigstore-js and tuf-js."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mcps_trust.model.names import allow_list_path
from worlds import TEAM, World

pytestmark = [pytest.mark.bwrap, pytest.mark.node]

HERE = Path(__file__).resolve().parent.parent / "interop"
MODULES = Path(__file__).resolve().parent.parent.parent / ".tools" / "interop" / "node_modules"


def node(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/node", str(HERE / script), *arguments], capture_output=True, text=True,
        timeout=60, check=False, env={"NODE_PATH": str(MODULES), "PATH": "/usr/bin"},
    )  # fmt: skip


def test_sigstore_js_verifies_our_bundle_and_refuses_another_signer(
    world: World, tmp_path: Path
) -> None:
    entry = world.serve("echo")
    bundle, root = tmp_path / "bundle.json", tmp_path / "trusted_root.json"
    bundle.write_bytes(world.desk.blobs.get(entry.bundle_sha256))
    root.write_bytes(world.signing_instance().trusted_root)
    issuer = world.issuer.issuer.url
    done = node("verify_bundle.cjs", str(bundle), str(root), issuer, "author@example.org")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"subject": "author@example.org"}
    wrong = node("verify_bundle.cjs", str(bundle), str(root), issuer, "it@example.org")
    assert wrong.returncode != 0


def test_tuf_js_reads_our_repository(world: World, tmp_path: Path) -> None:
    entry = world.serve("echo")
    shutil.copy(world.desk.folder.public / "metadata" / "1.root.json", tmp_path / "root.json")
    wanted = [str(entry.path), allow_list_path(TEAM), "revoked/list.json", "trust/approvers.json",
              "trust/nothing.json"]  # fmt: skip
    done = node("read_registry.cjs", world.url, str(tmp_path), *wanted)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("trust/nothing.json") is None
    for path, text in found.items():
        assert text.encode() == world.desk.repository.target(path)
