"""Asks pkilint, which shares no code with us, about every certificate that the tests issued.

The harnesses leave them (tests/issued); `make test` runs this at its end, with their folder. What
pkilint finds, a warning or worse, ends the step. What we do not follow is in NOT_FOLLOWED alone.
"""

import collections
import itertools
import pathlib
import re
import sys

from pkilint import loader
from pkilint.pkix import certificate, extension, name
from pkilint.validation import ValidationFindingSeverity as Severity

# The code of a finding, the form of its message, and why we do not follow it.
NOT_FOLLOWED = [
    (
        "pkix.invalid_uri_syntax",
        r'Invalid URI syntax: "spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)*"',
        "pkilint knows a list of schemes, and spiffe is none of them. RFC 3986 asks for no list.",
    ),
    (
        "pkix.invalid_domain_name_syntax",
        r'Invalid domain name syntax: "[a-z0-9]([a-z0-9-]*[a-z0-9])?"',
        "pkilint wants a dot. RFC 1034 section 3.5 allows one label, and services have such names.",
    ),
]

# Every profile must have been judged; the name of a file begins with it.
PROFILES = ["x509-svid", "node", "server", "issuing-ca", "intermediate-ca", "root-ca"]

# What makes a certificate a broken one: bytes that are exchanged for as many others. The judge is
# judged first: it must find something in each.
BREAKS = {
    "is no certificate": (rb"\A\x30", b"\x31"),
    "has a time without its zone": (rb"(\x17\x0d.{12})Z", rb"\g<1>0"),
    "is no SPIFFE ID": (rb"spiffe://example\.org", b"spiffe://example org"),
    "names no host": (rb"web\.example\.org", b"-eb.example.org"),
    "ends before it begins": (rb"(\x17\x0d.{13})(\x17\x0d.{13})", rb"\2\1"),
    "has a key usage that does not read": (rb"(\x55\x1d\x0f.{5}\x03)\x02", b"\\1\x07"),
}


def validator():
    """The rules of RFC 5280, which bind leaves and CAs: those of `lint_pkix_cert`."""
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


class Judge:
    def __init__(self):
        self.validator = validator()
        self.load = loader.RFC5280CertificateDocumentLoader().load_der_document

    def findings(self, der):
        """What pkilint finds in a certificate, as lines; that it cannot read it is a finding."""
        try:
            document = self.load(der)
        except ValueError as error:
            return [f"does not read: {error}"]
        return [
            f"{found.finding.severity.name} {found.finding.code} at {result.node.path}: "
            f"{found.message}"
            for result in self.validator.validate(document.root)
            for found in result.finding_descriptions
            if found.finding.severity <= Severity.WARNING and is_followed(found)
        ]


def is_followed(finding):
    return not any(
        finding.finding.code == code and re.fullmatch(form, finding.message or "")
        for code, form, _ in NOT_FOLLOWED
    )


def overlooked(judge, certificates):
    """The breaks that the judge did not find, or that could be made nowhere."""
    for what, (form, instead) in BREAKS.items():
        fit = (der for der in certificates if re.search(form, der, re.DOTALL))
        broken = (re.sub(form, instead, der, count=1, flags=re.DOTALL) for der in fit)
        if not any(judge.findings(der) for der in itertools.islice(broken, 1)):
            yield what


def main():
    folder = pathlib.Path(sys.argv[1])
    paths = sorted(folder.rglob("*.der"))
    judge, certificates = Judge(), {path: path.read_bytes() for path in paths}
    complaints, seen = [], collections.Counter()
    for path, der in certificates.items():
        seen[path.name.rpartition("-")[0]] += 1
        found = judge.findings(der)
        complaints += [f"{path.relative_to(folder)}: {finding}" for finding in found]
    missing = (profile for profile in PROFILES if not seen[profile])
    complaints += [f"no {profile} was issued by any test" for profile in missing]
    unseen = overlooked(judge, certificates.values()) if certificates else []
    complaints += [f"pkilint overlooks one that {what}" for what in unseen]
    tests = len({path.parent for path in paths})
    counts = ", ".join(f"{count} {profile}" for profile, count in sorted(seen.items()))
    print(f"pkilint judged {len(paths)} certificates of {tests} tests: {counts or 'none'}")
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
