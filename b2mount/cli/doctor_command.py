"""b2mount doctor: what on this machine or account would keep a mount from working, and how to mend it."""

from __future__ import annotations

import json
from argparse import Namespace

import attrs
import trio

from b2mount.cli.doctor_account import look_at_account
from b2mount.cli.doctor_cache import look_at_cache
from b2mount.cli.doctor_machine import look_at_machine, look_at_mount_point
from b2mount.cli.finding import Finding, code_of
from b2mount.options import mount_options


def execute(arguments: Namespace) -> int:
    """0 when a mount would work, else the exit code that it would end with."""
    options = mount_options(arguments.source or "b2://", "/", arguments.settings)
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not arguments.json:
            print(finding.line, flush=True)

    for finding in look_at_machine(options):
        tell(finding)
    place = getattr(arguments, "mountpoint", None)  # named mounts have one
    if place is not None:
        for finding in look_at_mount_point(place):
            tell(finding)
    in_cache, started = look_at_cache(options)

    async def look() -> None:
        await look_at_account(options, started, bucket=arguments.source is not None, tell=tell)

    trio.run(look)
    for finding in in_cache:  # a mount meets its cache directory only when it knows its account
        tell(finding)
    code = code_of(findings)
    if arguments.json:
        shown = [attrs.asdict(finding) for finding in findings]
        print(json.dumps({"exit_code": code, "findings": shown}, indent=2))
    return code
