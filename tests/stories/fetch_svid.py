"""Fetches an X.509-SVID as a workload would, with a client that is not ours."""

import sys

from cryptography.x509 import ExtensionOID
from spiffe import TrustDomain, WorkloadApiClient

with WorkloadApiClient(socket_path=sys.argv[1], default_timeout=10) as client:
    context = client.fetch_x509_context()

svid = context.default_svid
bundle = context.x509_bundle_set.get_bundle_for_trust_domain(TrustDomain("example.org"))
roots = {root.subject: root for root in bundle.x509_authorities}

# From the leaf to a root, each is signed by the next.
for certificate, issuer in zip(svid.cert_chain, svid.cert_chain[1:]):
    certificate.verify_directly_issued_by(issuer)
last = svid.cert_chain[-1]
last.verify_directly_issued_by(roots[last.issuer])
assert svid.private_key.public_key() == svid.leaf.public_key()
assert not svid.leaf.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS).value.ca

print(svid.spiffe_id)
