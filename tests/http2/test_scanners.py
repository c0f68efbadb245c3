"""What TLS scanners say: sslyze against Mozilla's intermediate profile, and, with `--full`, testssl.sh with all its checks."""

import json
import os
import subprocess

import pytest
from sslyze import Scanner, ServerNetworkLocation, ServerScanRequest
from sslyze.mozilla_tls_profile.tls_config_checker import (
    SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER,
    MozillaTlsConfiguration,
    ServerNotCompliantWithTlsConfiguration,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)
from stage import Tidewire

INTERMEDIATE = MozillaTlsConfiguration.get(TlsConfigurationEnum.MOZILLA_INTERMEDIATE)

NOT_ON_A_LOOPBACK = {
    # What scanners find that no certificate for this machine can be without.
    "certificate_path_validation": "nobody trusts an authority of a test's own",
    "cert_trust": "nobody trusts an authority of a test's own",
    "cert_chain_of_trust": "nobody trusts an authority of a test's own",
    "cert_revocation": "it has no responder that could be asked",
    "cert_crlDistributionPoints": "it has no list of what was revoked",
    "cert_ocspURL": "it has no responder that could be asked",
    "OCSP_stapling": "it has no responder whose answer could be stapled",
    "DNS_CAArecord": "localhost has no records",
    "HSTS": "it would hold for every port of this host, which is for its owner to say, or a proxy in front",
    "engine_problem": "the machine's openssl has no GOST, which nobody here speaks",
}

@pytest.fixture(params=["self_signed", "rsa", "ecdsa"])
def server(request: pytest.FixtureRequest, plainly, authority) -> Tidewire:
    if request.param == "self_signed":
        return plainly("--tls-self-signed")
    pair = authority.issue("localhost", "127.0.0.1", key=request.param)
    return plainly(**{"tls.cert": pair.cert, "tls.key": pair.key})


def test_sslyze_finds_nothing_against_the_intermediate_profile(server: Tidewire) -> None:
    place = ServerNetworkLocation(hostname="localhost", ip_address="127.0.0.1", port=server.port)
    scanner = Scanner()
    scanner.queue_scans([ServerScanRequest(server_location=place, scan_commands=SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER)])
    (result,) = scanner.get_results()
    try:
        check_server_against_tls_configuration(result, INTERMEDIATE)
    except ServerNotCompliantWithTlsConfiguration as found:
        assert {issue: found.issues[issue] for issue in found.issues if issue not in NOT_ON_A_LOOPBACK} == {}


@pytest.mark.full
def test_testssl_finds_nothing_but_what_a_loopback_cannot_have(server: Tidewire, tmp_path) -> None:
    report = tmp_path / "report.json"
    command = [
        "testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--severity", "LOW",
        "--connect-timeout", "10", "--openssl-timeout", "10", "--jsonfile", str(report),
        f"https://localhost:{server.port}/livez",
    ]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "TERM": "dumb"})
    assert report.exists(), said.stdout + said.stderr
    findings = {finding["id"].partition(" ")[0]: finding for finding in json.loads(report.read_text())}
    print(sorted(findings))
    wrong = {name: finding["finding"] for name, finding in findings.items() if name not in NOT_ON_A_LOOPBACK}
    assert wrong == {}, said.stdout
    assert "scanProblem" not in findings and "Done" in said.stdout, said.stdout
