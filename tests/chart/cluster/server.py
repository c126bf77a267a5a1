"""A Kubernetes API server on loopback: etcd, kube-apiserver, and a stand-in for the controllers that a release waits for.

Owns: the processes and their directory; both end with it. Real: storage, validation, defaults, admission (pod security
too), server-side apply. Not there: kubelet, scheduler, controllers, so no pod runs; the stand-in only says that jobs and
test pods have succeeded.
"""

import contextlib
import datetime
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

TOKEN = "chart"
START_SECONDS_MAX = 180


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer(Exception):
    """The server refused: its code and its words."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


class Cluster:
    """The running server."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.port = free_port()
        self.processes = []
        self.resources = {}
        self.done = threading.Event()

    def start(self):
        etcd = self.start_etcd()
        self.openssl("genrsa", "-out", self.directory / "sa.key", "2048")
        self.openssl("rsa", "-in", self.directory / "sa.key", "-pubout", "-out", self.directory / "sa.pub")
        (self.directory / "tokens.csv").write_text(f'{TOKEN},chart,chart,"system:masters"\n')
        self.run(
            "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={self.port}",
            f"--cert-dir={self.directory}/certs", "--authorization-mode=RBAC", f"--token-auth-file={self.directory}/tokens.csv",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={self.directory}/sa.pub",
            f"--service-account-signing-key-file={self.directory}/sa.key", "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
        )
        self.wait("/readyz")
        self.kubeconfig = self.directory / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.port}", "insecure-skip-tls-verify": True}}],
            "users": [{"name": "c", "user": {"token": TOKEN}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }))
        threading.Thread(target=self.stand_in, daemon=True).start()
        return self

    def start_etcd(self):
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.run(
            "etcd", "--data-dir", self.directory / "etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        )
        return client

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def run(self, *command):
        log = open(self.directory / f"{command[0]}.log", "w")
        self.processes.append(subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def stop(self):
        self.done.set()
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()

    def wait(self, path):
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            for process in self.processes:
                if process.poll() is not None:
                    name = process.args[0]
                    raise SystemExit(f"{name} ended: {(self.directory / f'{name}.log').read_text()[-2000:]}")
            with contextlib.suppress(OSError, Answer):
                self.ask("GET", path)
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"no {path} after {START_SECONDS_MAX} s: {self.directory}")
            time.sleep(0.2)

    def ask(self, method, path, body=None, kind="application/json"):
        """One request; the answer as JSON, or as text."""
        context = ssl._create_unverified_context()  # its own certificate, on loopback
        data = json.dumps(body).encode() if body is not None else None
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": kind}
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise Answer(error.code, error.read().decode()) from None
        return json.loads(text) if text.startswith("{") else text

    def path(self, manifest):
        """The path of an object's collection, and its name."""
        version = manifest["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        key = (version, manifest["kind"])
        if key not in self.resources:
            for resource in self.ask("GET", root)["resources"]:
                if "/" not in resource["name"]:
                    self.resources[version, resource["kind"]] = (resource["name"], resource["namespaced"])
        plural, namespaced = self.resources[key]
        space = f"/namespaces/{manifest['metadata'].get('namespace', 'default')}" if namespaced else ""
        return f"{root}{space}/{plural}"

    def apply(self, manifest, dry=False):
        """Server-side apply, strict: an unknown or doubled member is an error."""
        query = f"?fieldManager=chart-test&fieldValidation=Strict&force=true{'&dryRun=All' if dry else ''}"
        return self.ask("PATCH", f"{self.path(manifest)}/{manifest['metadata']['name']}{query}", manifest, "application/apply-patch+yaml")

    def stand_in(self):
        """Says of every job and pod that it has succeeded: what a controller and a kubelet would find out."""
        while not self.done.wait(0.2):
            with contextlib.suppress(OSError, Answer):
                for job in self.ask("GET", "/apis/batch/v1/jobs")["items"]:
                    if not job["status"].get("succeeded"):
                        self.succeed(job, "/apis/batch/v1", "jobs", job_status())
                for pod in self.ask("GET", "/api/v1/pods")["items"]:
                    if pod["status"].get("phase") != "Succeeded":
                        self.succeed(pod, "/api/v1", "pods", {"phase": "Succeeded"})

    def succeed(self, o, root, plural, status):
        at = f"{root}/namespaces/{o['metadata']['namespace']}/{plural}/{o['metadata']['name']}/status"
        self.ask("PATCH", at, {"status": status}, "application/merge-patch+json")


def job_status():
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now, "reason": "StandIn"}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    return {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions}


@contextlib.contextmanager
def cluster():
    """A running server; its logs stay where something failed."""
    for program in ("etcd", "kube-apiserver", "helm", "openssl"):
        if not shutil.which(program):
            raise SystemExit(f"{program} is missing: deploy/ci/install-chart --cluster")
    directory = tempfile.mkdtemp(prefix="evenkeel-cluster-")
    server = Cluster(directory)
    try:
        yield server.start()
    except BaseException:
        print(f"logs of the server: {directory}", flush=True)
        raise
    else:
        server.stop()
        shutil.rmtree(directory)
    finally:
        server.stop()
        os.sync()
