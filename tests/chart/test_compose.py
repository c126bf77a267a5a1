"""deploy/compose fits together: files are there, names agree, the configuration has keys that exist."""

import subprocess
import tomllib

import sources
import yaml
from conftest import PROMTOOL
from test_in_step import unknown

COMPOSE = sources.ROOT / "deploy" / "compose"


def compose():
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


def config():
    return tomllib.loads((COMPOSE / "evenkeel.toml").read_text())


def test_what_is_mounted_is_there():
    named = set(compose()["volumes"])
    for name, service in compose()["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in named or (COMPOSE / source).exists(), (name, source)


def test_ports_are_open_on_loopback_only():
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), (name, port)


def test_the_configuration_has_keys_that_exist_and_servers_of_this_file():
    services = compose()["services"]
    for section, table in config().items():
        assert unknown(table, sources.keys_of(section)) == [], section
    hosts = [config()["kafka"]["brokers"], *config()["cql"]["contact-points"]]
    assert all(host.split(":")[0] in services for host in hosts)


def test_our_services_are_locked_down_and_wait_for_topics_and_tables():
    services = compose()["services"]
    for name in sources.SERVICES:
        service = services[name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["command"][0] == name
        assert set(service["depends_on"]) == {"topics", "schema"}
    chart = yaml.safe_load((sources.CHART / "Chart.yaml").read_text())
    assert services["ingest"]["image"] == f"evenkeel:{chart['appVersion']}"


def test_prometheus_scrapes_every_service_and_takes_its_configuration(tmp_path):
    text = (COMPOSE / "prometheus.yaml").read_text()
    targets = [t for s in yaml.safe_load(text)["scrape_configs"][0]["static_configs"] for t in s["targets"]]
    assert targets == [f"{name}:9464" for name in sources.SERVICES]
    (tmp_path / "prometheus.yaml").write_text(text)
    (tmp_path / "evenkeel.rules.yaml").write_text((sources.ROOT / "deploy/alerts/evenkeel.rules.yaml").read_text())
    done = subprocess.run([PROMTOOL, "check", "config", tmp_path / "prometheus.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_images_are_those_of_the_live_tests_where_both_have_one():
    assert compose()["services"]["kafka"]["image"] in (sources.ROOT / "deploy/ci/local-images").read_text()


def test_every_service_that_listens_to_others_asks_for_a_credential():
    files = {volume.split(":")[1]: COMPOSE / volume.split(":")[0] for volume in compose()["x-service"]["volumes"]}
    for service in ("ingest", "gateway"):
        path = config()[service]["tokens-file"]
        credentials = tomllib.loads(files[path].read_text())["credential"]
        assert config()[service]["listen"].startswith("0.0.0.0:") and all(len(c["token"]) >= 16 for c in credentials)


def test_what_stands_in_for_images_names_services_of_the_file():
    services = yaml.compose((COMPOSE / "local.yaml").read_text()).value[0][1].value  # `!reset` is compose's own tag
    named = {name.value for name, _ in services}
    assert named == set(compose()["services"])
