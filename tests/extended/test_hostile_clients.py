"""The full attack of slow clients: `python -m tests.e2e.slow_clients 60`."""

from pathlib import Path

from tests.e2e import slow_clients
from tests.e2e.backend_process import BackendProcess


def test_others_are_served_during_an_attack_of_1500_slow_clients(tmp_path: Path) -> None:
    with BackendProcess(PRISM_DATA_DIR=str(tmp_path)) as backend:
        backend.wait_until_ready()
        outcome = slow_clients.run(backend.port, 60, slow_clients.Attack())
    print(outcome)
    assert slow_clients.success_rate(outcome.requests) >= 0.999
    assert slow_clients.success_rate(outcome.probes) == 1
