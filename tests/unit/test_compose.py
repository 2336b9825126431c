import re
import tomllib
from io import StringIO
from typing import Any

import pytest
from dotenv import dotenv_values

from ferry.settings import Settings
from tests.compose_files import ROOT, MissingVariableError, filled_in, merged, read_compose, strings, variables
from tests.schemas import schema_errors

SECRETS = {"REDIS_PASSWORD": "s3cret-of-redis", "FLOWER_PASSWORD": "s3cret-of-flower"}
FILES = ("docker-compose.yml", "docker-compose.gpu.yml")
PLAIN = filled_in(read_compose(FILES[0]), SECRETS)
ON_GPU = merged(PLAIN, filled_in(read_compose(FILES[1]), SECRETS))
SERVICES = PLAIN["services"]
# Runs once and ends; everything else stays up.
ONE_SHOT = {"train"}
PUBLISHED = {"api", "flower"}
EXAMPLE = ROOT / ".env.example"
# Settings that the stack itself chooses, or that have no meaning in it.
FIXED = {
    "alive_file", "api_host", "api_key", "api_port", "data_dir", "flower_host", "flower_port", "log_format",
    "metrics_host", "metrics_port", "models_dir", "ort_provider", "ort_threads", "redis_url", "worker_name", "workers",
}  # fmt: skip
API_ALONE = {"FERRY_API_PROCESSES", "FERRY_FLOWER_URL"}


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"name": request.param, **SERVICES[request.param]}


def dockerfile(build: dict[str, Any]) -> str:
    return (ROOT / build["context"] / build["dockerfile"]).read_text(encoding="utf-8")


def image_of(each: dict[str, Any]) -> str:
    """Return the Dockerfile behind a service: its own, or that of the service whose image it takes."""
    builds = {other["image"]: other["build"] for other in SERVICES.values() if "build" in other}
    return dockerfile(builds[each["image"]])


# --- the files


@pytest.mark.parametrize("name", FILES)
def test_compose_file_when_filled_in_then_valid_by_the_compose_specification(name: str) -> None:
    assert schema_errors("compose-spec", filled_in(read_compose(name), SECRETS)) == []


def test_compose_files_when_merged_then_valid_by_the_compose_specification() -> None:
    assert schema_errors("compose-spec", ON_GPU) == []


def test_schema_when_a_key_is_mistyped_then_named_with_its_place() -> None:
    mistyped = merged(PLAIN, {"services": {"api": {"read_onyl": True}}})
    (error,) = schema_errors("compose-spec", mistyped)
    assert error.startswith("$.services.api: ")
    assert "read_onyl" in error


def test_volumes_and_networks_when_used_then_declared_and_the_other_way_round() -> None:
    used = {volume.partition(":")[0] for each in SERVICES.values() for volume in each.get("volumes", [])}
    assert used == set(PLAIN["volumes"])
    assert {network for each in SERVICES.values() for network in each["networks"]} == set(PLAIN["networks"])


def test_environment_when_a_key_is_ferrys_then_a_setting() -> None:
    known = {f"FERRY_{name.upper()}" for name in Settings.model_fields}
    given = {key for each in ON_GPU["services"].values() for key in each.get("environment", {})}
    assert {key for key in given if key.startswith("FERRY_")} <= known


def test_setting_when_an_operator_may_want_it_then_api_and_workers_take_it_from_the_environment_file() -> None:
    wanted = {f"FERRY_{name.upper()}" for name in set(Settings.model_fields) - FIXED}
    for name in ("api", "worker"):
        given = read_compose(FILES[0])["services"][name]["environment"]
        taken = {key for key, value in given.items() if value is None or f"${{{key}:-" in str(value)}
        assert wanted - taken == (set() if name == "api" else API_ALONE)


def test_variable_when_a_compose_file_reads_it_then_in_the_example_with_its_default() -> None:
    example = dotenv_values(stream=StringIO(re.sub("^#(?=[A-Z])", "", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)))
    found = variables([read_compose(name) for name in reversed(FILES)])
    found = {name: uses for name, uses in found.items() if not name.startswith("FERRY_")}
    # The last use counts: docker-compose.yml's.
    assert {name: rest if kind == "-" else "" for name, uses in found.items() for kind, rest in uses} == {
        name: value for name, value in example.items() if not name.startswith("FERRY_")
    }


# --- what gets out


def test_ports_when_nothing_is_set_then_api_and_flower_on_this_host_alone() -> None:
    ports = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert set(ports) == PUBLISHED
    assert all(port.startswith("127.0.0.1:") for each in ports.values() for port in each)


def test_secret_when_missing_then_the_message_names_the_line_to_add() -> None:
    for name in FILES:
        for variable, uses in variables(read_compose(name)).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY", variable):
                assert variable in SECRETS
                assert all(kind == "?" and f"add a line {variable}=" in rest for kind, rest in uses)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_compose_file_when_a_secret_is_missing_or_empty_then_refused(name: str) -> None:
    with pytest.raises(MissingVariableError, match=f"add a line {name}=.* to .env"):
        filled_in(read_compose(FILES[0]), SECRETS | {name: ""})


def test_secret_when_given_then_in_the_environment_and_nowhere_else() -> None:
    for each in ON_GPU["services"].values():
        shown = {key: value for key, value in each.items() if key != "environment"}
        assert not [text for text in strings(shown) for secret in SECRETS.values() if secret in text]
    in_environment = [text for each in SERVICES.values() for text in strings(each.get("environment", {}))]
    assert all(any(secret in text for text in in_environment) for secret in SECRETS.values())


# --- each service


def test_service_when_run_then_it_can_change_little(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert not [volume for volume in service.get("volumes", []) if volume.startswith((".", "/", "~"))]


def test_service_when_run_then_not_as_root(service: dict[str, Any]) -> None:
    user = service.get("user") or re.findall(r"^USER (\S+)$", image_of(service), re.MULTILINE)[-1]
    assert user.partition(":")[0] not in {"", "0", "root"}


def test_service_when_it_ends_then_started_again_unless_it_runs_once(service: dict[str, Any]) -> None:
    is_one_shot = service["name"] in ONE_SHOT
    assert service["restart"] == ("no" if is_one_shot else "unless-stopped")
    assert ("profiles" in service) == is_one_shot


def test_service_when_it_hangs_then_its_health_check_says_so(service: dict[str, Any]) -> None:
    if service["name"] in ONE_SHOT:
        pytest.skip("runs once")
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} <= set(service["healthcheck"])


def test_service_when_it_grows_then_within_limits(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])


# --- images


@pytest.mark.parametrize("name", ["Dockerfile.api", "Dockerfile.worker", "training/Dockerfile"])
def test_dockerfile_when_it_installs_then_from_the_lock_with_the_projects_uv(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.findall(r"uv==(\S+)", text) == [version]
    syncs = [line for line in text.splitlines() if "uv sync" in line]
    assert len(syncs) == 2
    assert all("--locked" in line and "--no-default-groups" in line for line in syncs)


@pytest.mark.parametrize(("group", "flavour"), [("worker", "onnxruntime"), ("worker-gpu", "onnxruntime-gpu")])
def test_lock_when_a_workers_group_is_installed_then_one_onnxruntime(group: str, flavour: str) -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    (ferry,) = (each for each in lock["package"] if each["name"] == "ferry-inference")
    named = [each["name"] for each in ferry["dev-dependencies"][group]]
    assert [name for name in named if name.startswith("onnxruntime")] == [flavour]


def test_worker_image_when_a_text_model_asks_for_english_then_both_names_of_the_locale_are_there() -> None:
    text = dockerfile(SERVICES["worker"]["build"])
    assert "localedef --no-archive -i en_US -f UTF-8 /locale/en_US.utf8 && ln -s en_US.utf8 /locale/en_US" in text
    assert "COPY --from=build /locale /usr/lib/locale" in text.rpartition("\nFROM ")[2]


# --- on a GPU


def test_gpu_file_when_laid_over_then_the_worker_alone_gets_image_provider_and_device() -> None:
    changed = {name for name, each in ON_GPU["services"].items() if each != SERVICES[name]}
    assert changed == {"worker"}
    worker = ON_GPU["services"]["worker"]
    assert worker["image"] == SERVICES["worker"]["image"] + "-cuda"
    assert worker["build"] == SERVICES["worker"]["build"] | {"args": {"ACCELERATOR": "cuda"}}
    assert worker["environment"]["FERRY_ORT_PROVIDER"] == "cuda"
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}
    assert worker["read_only"]


def test_worker_image_when_accelerated_then_its_group_and_its_provider_follow() -> None:
    text = dockerfile(SERVICES["worker"]["build"])
    assert re.findall(r"(\w+)\) echo (\S+) ;;", text) == [("cpu", "worker"), ("cuda", "worker-gpu")]
    assert "FERRY_ORT_PROVIDER=${ACCELERATOR}" in text
    assert text.count("ARG ACCELERATOR=cpu") == text.count("\nFROM ")  # an ARG ends with its stage
