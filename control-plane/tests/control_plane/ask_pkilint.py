"""Asks pkilint about certificates: one a line, a name and the DER in base64.

Prints what it finds, as JSON, a warning or worse. What we do not follow is in NOT_FOLLOWED alone.
"""

import json
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


def validator():
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


def is_followed(finding):
    return not any(
        finding.finding.code == code and re.fullmatch(form, finding.message or "")
        for code, form, _ in NOT_FOLLOWED
    )


def main():
    judge = validator()
    load = loader.RFC5280CertificateDocumentLoader().load_b64_document
    findings, judged = [], 0
    for line in sys.stdin:
        what, der = line.split()
        judged += 1
        for result in judge.validate(load(der).root):
            for finding in result.finding_descriptions:
                if finding.finding.severity <= Severity.WARNING and is_followed(finding):
                    findings.append(
                        {
                            "certificate": what,
                            "code": finding.finding.code,
                            "severity": finding.finding.severity.name,
                            "path": str(result.node.path),
                            "message": finding.message,
                        }
                    )
    json.dump({"judged": judged, "findings": findings}, sys.stdout)


if __name__ == "__main__":
    main()
