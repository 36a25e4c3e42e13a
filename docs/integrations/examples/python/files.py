"""Keeps an X.509-SVID in files for a program that reads files, and has it reload them.

usage: files.py OWN_ID FOLDER [COMMAND...], with SPIFFE_ENDPOINT_SOCKET

FOLDER/current holds svid.pem (the chain), key.pem and bundle.pem, which always belong together: it is
a link that is replaced in one step. COMMAND is run after each change.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import X509Source

FIRST_TIMEOUT = 60
RELOAD_TIMEOUT = 30
RETRY = 5


def pem(certificates):
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def contents(source):
    context = source.get_x509_context()
    svid = context.default_svid
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    roots = sorted(bundle.x509_authorities, key=lambda root: root.serial_number)
    key = svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {"svid.pem": pem(svid.cert_chain), "key.pem": key, "bundle.pem": pem(roots)}


def publish(folder, files):
    """Puts all files into a folder of their own, and then that folder in the place of the last."""
    new = Path(tempfile.mkdtemp(prefix=".svid-", dir=folder))
    for name, content in files.items():
        (new / name).write_bytes(content)
    link = folder / ".next"
    link.unlink(missing_ok=True)
    link.symlink_to(new.name)
    link.replace(folder / "current")
    for old in folder.glob(".svid-*"):
        if old != new:
            shutil.rmtree(old)


def reload(command):
    if not command:
        return True
    try:
        subprocess.run(command, check=True, timeout=RELOAD_TIMEOUT)
        return True
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{error}: tried again in {RETRY} s", file=sys.stderr, flush=True)
        return False


def main(own_id, folder, *command):
    def pick(svids):
        return next(svid for svid in svids if str(svid.spiffe_id) == own_id)

    os.umask(0o077)
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    changed = threading.Event()
    with X509Source(timeout_in_seconds=FIRST_TIMEOUT, svid_picker=pick) as source:
        source.subscribe_for_updates(changed.set)
        published, is_loaded = None, True
        # A source that was refused raises here, and ends the program.
        while files := contents(source):
            if files != published:
                publish(folder, files)
                published, is_loaded = files, False
            is_loaded = is_loaded or reload(command)
            changed.wait(None if is_loaded and not source.is_closed() else RETRY)
            changed.clear()


if __name__ == "__main__":
    main(*sys.argv[1:])
