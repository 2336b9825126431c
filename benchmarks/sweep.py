"""The sweep: each peer with every one of its settings, one short turn each; the one with most jobs/s is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures import Report, dig
from benchmarks.peer import Peer
from benchmarks.plan import Plan
from benchmarks.setting import Setting, read_setting
from benchmarks.turns import installed, measured, started
from benchmarks.w1_waiting import Say

CLIENTS = 64


def measure(peers: Sequence[Peer], plan: Plan, cores: int, say: Say) -> dict[str, Any]:
    """Return for each peer its tries and the best setting, or the error that kept it out."""
    found: dict[str, Any] = {}
    for peer in peers:
        entry = found[peer.name] = {"label": peer.label, "error": None, "versions": {}, "tries": [], "best": None}
        try:
            entry["versions"] = installed(peer.system(peer.knobs.default()))
        except Exception as error:  # noqa: BLE001 - a peer that cannot run is listed with its error
            entry["error"] = f"{type(error).__name__}: {error}"
            say(f"sweep {peer.label}: {entry['error']}")
            continue
        entry["tries"] = [_one_try(peer, setting, plan, say) for setting in peer.knobs.settings(cores)]
        entry["best"] = best_setting(entry["tries"])
    return found


def _one_try(peer: Peer, setting: Setting, plan: Plan, say: Say) -> dict[str, Any]:
    fields = {"setting": setting.to_json(), "label": setting.label(), "error": None}
    try:
        with started(peer.system(setting), plan.warm_up_s) as (post, folder):
            figures = measured(post, clients=CLIENTS, seconds=plan.sweep_s, folder=folder)
    except Exception as error:  # noqa: BLE001 - a setting that a peer refuses is listed with its error
        say(f"sweep {peer.label}, {setting.label()}: {type(error).__name__}: {error}")
        return fields | {"error": f"{type(error).__name__}: {error}"}
    say(f"sweep {peer.label}, {setting.label()}: {figures['per_s']:,.0f}/s, {figures['errors']} errors")
    return fields | figures


def best_setting(tries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the setting with most jobs/s, answers with errors not counted; None where no turn succeeded."""
    good = [each for each in tries if not each["error"]]
    return dict(max(good, key=lambda each: each["per_s"])["setting"]) if good else None


def setting_of(report: Report, peer: Peer) -> Setting:
    """Return the best setting of this report's sweep; the default where it has none."""
    fields = dig(report, "sweep", peer.name, "best")
    return read_setting(fields) if fields else peer.knobs.default()
