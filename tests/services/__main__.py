"""``python -m tests.services``: run the tests that need a service, on every available one.

Addresses come from ``TEST_POSTGRES_URL``, ``TEST_MARIADB_URL``, ``TEST_REDIS_URL`` and
``TEST_RABBITMQ_URL``. A service that does not answer is reported and skipped;
``REQUIRE_SERVICES=1`` makes that a failure. Further arguments are passed to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys

from .reachable import BROKERS, DATABASES, POSTGRES


def pytest(*arguments: str, **environment: str) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, env=os.environ | environment, check=False).returncode


def main() -> int:
    results: dict[str, str] = {}
    failed = False
    required = os.environ.get("REQUIRE_SERVICES") == "1"
    for service in (*DATABASES, *BROKERS):
        if problem := service.problem():
            results[service.name] = f"SKIPPED at {service.address}: {problem}"
            failed = failed or required
            continue
        if service in BROKERS:
            results[service.name] = f"used at {service.address}"
            continue
        print(f"\n== The suite on {service.name} at {service.address} ==", flush=True)
        # Slow tests ran on SQLite, and run on the database that most projects use.
        quick = () if service is POSTGRES else ("-m", "not slow")
        code = pytest(
            *("--only-database", "-rs", "--hypothesis-profile=brief"),
            *(*quick, *sys.argv[1:]),
            DATABASE_URL=service.url,
        )
        results[service.name] = f"{'FAILED' if code else 'passed'} at {service.address}"
        failed = failed or code != 0
    print("\n== A worker process on every broker ==", flush=True)
    brokers = pytest("-m", "services")
    results["Worker round trips"] = "FAILED" if brokers else "passed"

    print("\nServices")
    for name, result in results.items():
        print(f"  {name:20} {result}")
    if required and any("SKIPPED" in result for result in results.values()):
        print("REQUIRE_SERVICES=1: a service that does not answer is a failure.")
    return 1 if failed or brokers else 0


if __name__ == "__main__":
    sys.exit(main())
