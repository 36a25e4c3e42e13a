"""Calls a service with mTLS under an X.509-SVID, and again once the SVID was renewed.

usage: client.py URL OWN_ID PEER_ID, with SPIFFE_ENDPOINT_SOCKET
"""

import http.client
import os
import socket
import ssl
import sys
import threading
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import SpiffeId, X509Source

TIMEOUT = 10
RENEWAL_TIMEOUT = 60


def pem(certificates):
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def tls_context(svid, roots):
    """A context that presents the SVID and trusts the roots, for one connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # The peer is recognised by its SPIFFE ID: see connect.
    context.load_verify_locations(cadata=pem(roots).decode())
    key = svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # The ssl module reads keys from files alone. This one is in memory, so the key reaches no disk.
    with os.fdopen(os.memfd_create("svid"), "wb") as memory:
        memory.write(pem(svid.cert_chain) + key)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")
    return context


def connect(host, port, context, peer):
    """A TLS connection to the workload of that SPIFFE ID, and to no other."""
    plain = socket.create_connection((host, port), TIMEOUT)
    secured = context.wrap_socket(plain, server_hostname=host)
    leaf = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if uris != [peer]:
        secured.close()
        raise ssl.SSLCertVerificationError(f"the peer is {uris}, not {peer}")
    return secured


def call(source, url, peer):
    context = source.get_x509_context()
    roots = context.x509_bundle_set.get_bundle_for_trust_domain(SpiffeId(peer).trust_domain)
    tls = tls_context(context.default_svid, roots.x509_authorities)
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=TIMEOUT)
    connection.sock = connect(target.hostname, target.port, tls, peer)
    connection.request("GET", target.path or "/")
    answer = connection.getresponse().read().decode().strip()
    connection.close()
    print(f"{peer} answers: {answer}", flush=True)


def main(url, own_id, peer):
    def pick(svids):
        return next(svid for svid in svids if str(svid.spiffe_id) == own_id)

    renewed = threading.Event()
    with X509Source(timeout_in_seconds=TIMEOUT, svid_picker=pick) as source:
        source.subscribe_for_updates(renewed.set)
        first = source.get_x509_context().default_svid.leaf
        print(f"holds {own_id}, serial {first.serial_number:x}, until {first.not_valid_after_utc}")
        call(source, url, peer)
        leaf = first
        while leaf.serial_number == first.serial_number:
            if not renewed.wait(RENEWAL_TIMEOUT):
                sys.exit("not renewed")
            renewed.clear()
            leaf = source.get_x509_context().default_svid.leaf
        print(f"renewed: serial {leaf.serial_number:x}, until {leaf.not_valid_after_utc}")
        call(source, url, peer)


if __name__ == "__main__":
    main(*sys.argv[1:])
