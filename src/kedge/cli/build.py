"""``kedge build``: send the context, show the steps, name the image."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kedge.api.buildattests import make_attests, parse_attests
from kedge.cli.buildcaches import caches_of
from kedge.cli.buildcall import ask
from kedge.cli.buildcontext import Context
from kedge.cli.buildinput import open_context
from kedge.cli.buildlent import lent_headers
from kedge.cli.buildoutcome import PROGRESS as _PROGRESS
from kedge.cli.buildoutcome import Outcome
from kedge.cli.buildoutputs import Outputs, outputs_of
from kedge.cli.command import Command
from kedge.cli.config import proxy_environment
from kedge.cli.contextsync import synchronized
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, grouped, integer, many, switch, value
from kedge.cli.options.environment import check_label, parse_env, read_key_values, to_map
from kedge.cli.options.ulimits import parse_ulimit
from kedge.cli.options.values import parse_extra_host, parse_memory_swap
from kedge.client.credentials import CredentialStore, config_directory, registry_config_headers
from kedge.client.http import EngineClient, Response
from kedge.client.terminal import is_tty
from kedge.lib.units import parse_ram
from kedge.oci.references import parse_reference


def _run(options: Options, client: EngineClient) -> int:
    if options.given("host-certs") and options.given("no-host-certs"):
        raise UsageError(
            "conflicting options: cannot specify both --host-certs and --no-host-certs"
        )
    if options.text("progress") not in _PROGRESS:
        known = ", ".join(_PROGRESS)
        raise UsageError(f"invalid progress: {options.text('progress')}: must be one of {known}")
    for tag in options.texts("tag"):
        parse_reference(tag)
    if options.on("explain-context"):
        return _explain(options)
    if options.on("debug-shell"):
        _check_debug_shell(options)
    if options.on("check") or options.given("call"):
        return ask(options, client, _query)
    outputs = outputs_of(options)
    response = send_build(options, client, outputs, os.environ)
    progress = "quiet" if options.on("quiet") else options.text("progress")
    if options.on("debug-shell"):
        # Bars would draw over the shell.
        progress = "plain"
    outcome = Outcome(client, outputs, progress=progress)
    outcome.show(response.messages())
    return outcome.finish(iidfile=options.text("iidfile"), metadata=options.text("metadata-file"))


def _check_debug_shell(options: Options) -> None:
    if options.on("quiet") or options.text("progress") in {"quiet", "rawjson"}:
        raise UsageError("conflicting options: --debug-shell shows the steps, leave --quiet out")
    if not (is_tty(0) and is_tty(1)):
        raise UsageError(
            "--debug-shell needs a terminal: leave it out where input or output is a pipe or file"
        )


def send_build(
    options: Options, client: EngineClient, outputs: Outputs, environ: Mapping[str, str]
) -> Response:
    """Send what the options of `COMMAND` say; return the answer, whose messages tell the rest.

    Args:
        options: The command line.
        client: The engine.
        outputs: What `outputs_of` made of the same options; it learns of caches that come back.
        environ: Where secrets and agents are looked up.
    """
    caches = caches_of(options)
    named = [*options.texts("build-context"), *caches.folders]
    context = open_context(options.words[0], options.text("file"), named)
    outputs.expect(caches.targets)
    context, told = synchronized(client, context)
    return client.request(
        "POST",
        "/build",
        {
            **told,
            **_query(options, context),
            **caches.query(),
            "outputs": outputs.query(),
            "attests": _attests(options),
        },
        body=_compressed(context.body) if options.on("compress") else context.body,
        content_type="application/x-tar",
        headers={
            **registry_config_headers(CredentialStore(config_directory(os.environ))),
            **lent_headers(options.texts("secret"), options.texts("ssh"), environ),
        },
    )


def _explain(options: Options) -> int:
    from kedge.cli.contextreport import describe, explain_context  # noqa: PLC0415 - rarely needed

    report = explain_context(options.words[0], options.text("file"))
    sys.stdout.write("".join(f"{line}\n" for line in describe(report)))
    return OK


def _compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield ``pieces`` as one gzip stream."""
    import zlib  # noqa: PLC0415 - rarely needed

    packer = zlib.compressobj(level=6, wbits=zlib.MAX_WBITS | 16)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _attests(options: Options) -> str:
    given = parse_attests(options.texts("attest"), options.text("provenance"), options.text("sbom"))
    make_attests(given)
    return json.dumps(given) if given else ""


def _query(options: Options, context: Context) -> dict[str, str | bool | list[str]]:
    given = [parse_env(pair, os.environ.get) for pair in options.texts("build-arg")]
    arguments = {
        name: content if equals else None
        for name, equals, content in (
            pair.partition("=") for pair in (*given, *proxy_environment(given))
        )
    }
    labels = to_map(read_key_values((), options.texts("label"), None))
    limits = [parse_ulimit(limit) for limit in options.texts("ulimit")]
    query: dict[str, str | bool | list[str]] = {
        "dockerfile": context.dockerfile,
        "remote": context.remote,
        "allow": options.texts("allow"),
        "contexts": json.dumps(dict(context.named)) if context.named else "",
        "t": options.texts("tag"),
        "q": options.on("quiet"),
        "debugshell": options.on("debug-shell"),
        # A person in a shell of one stage must not be written over by another.
        "sidebyside": not options.on("debug-shell")
        and options.text("progress") in {"auto", "plain", "tty"},
        "nocache": options.on("no-cache"),
        "nocachefilter": [
            name for text in options.texts("no-cache-filter") for name in text.split(",")
        ],
        "pull": options.on("pull"),
        "target": options.text("target"),
        "platform": options.text("platform"),
        "networkmode": options.text("network"),
        "extrahosts": [parse_extra_host(host) for host in options.texts("add-host")],
        "buildargs": json.dumps(arguments) if arguments else "",
        "labels": json.dumps(labels) if labels else "",
        "shmsize": str(parse_ram(options.text("shm-size"))) if options.given("shm-size") else "",
        "memory": str(parse_ram(options.text("memory"))) if options.given("memory") else "",
        "cpushares": options.text("cpu-shares"),
        "cpuperiod": options.text("cpu-period"),
        "cpuquota": options.text("cpu-quota"),
        "cpusetcpus": options.text("cpuset-cpus"),
        "cpusetmems": options.text("cpuset-mems"),
        "cgroupparent": options.text("cgroup-parent"),
        "securityopt": json.dumps(options.texts("security-opt"))
        if options.given("security-opt")
        else "",
        "version": "1",
    }
    if options.given("memory-swap"):
        query["memswap"] = str(parse_memory_swap(options.text("memory-swap")))
    if limits:
        query["ulimits"] = json.dumps(
            [{"Name": x.name, "Soft": x.soft, "Hard": x.hard} for x in limits]
        )
    if options.given("host-certs") or options.given("no-host-certs"):
        wanted = (
            options.on("host-certs")
            if options.given("host-certs")
            else not options.on("no-host-certs")
        )
        query["hostcerts"] = "1" if wanted else "0"
    return query


COMMAND: Final = Command(
    usage="[OPTIONS] PATH | URL | -",
    summary="Build an image from a Dockerfile and the files around it",
    flags=(
        many("tag", "NAME[:TAG]", "Name of the image", short="t"),
        value(
            "file",
            "FILE",
            "Dockerfile to use (default PATH/Dockerfile)",
            short="f",
            complete="file",
        ),
        many("build-arg", "NAME=VALUE", "Value of an ARG"),
        many(
            "build-context",
            "NAME=PLACE",
            "What NAME means in FROM and --from: a folder, docker-image://, oci-layout:// or a URL",
        ),
        switch("check", "Check the Dockerfile and build nothing"),
        value(
            "call",
            "check|outline|targets[,format=json]",
            "Ask the Dockerfile something and build nothing",
            default="build",
            complete="check|outline|targets",
        ),
        switch("debug-shell", "Open a shell in the file system of a step that fails (kedge only)"),
        switch("explain-context", "Show what of the folder would be sent, and why not the rest"),
        value("target", "STAGE", "Stage to stop at"),
        many("label", "NAME=VALUE", "Set a label", check=check_label),
        value("platform", "OS/ARCH[,...]", "Platform of the image; several make an index"),
        *grouped(
            "Cache",
            switch("no-cache", "Run every step again"),
            many("no-cache-filter", "STAGE", "Run every step of these stages again"),
            switch("pull", "Look for newer base images"),
            many(
                "cache-from",
                "IMAGE|type=TYPE,...",
                "Ask this cache, too: type=registry,ref=NAME or type=local,src=DIR",
                complete="image",
            ),
            many(
                "cache-to",
                "type=TYPE,...",
                "Write the cache: type=inline, registry,ref=NAME or local,dest=DIR; mode=min|max",
            ),
        ),
        *grouped(
            "Steps",
            value(
                "network",
                "MODE",
                "Network of RUN steps: default, host, none",
                complete="default|host|none",
            ),
            many(
                "allow",
                "ENTITLEMENT",
                "Let RUN have network.host or security.insecure",
                complete="network.host|security.insecure",
            ),
            many("secret", "id=NAME[,src=FILE]", "Lend a secret to steps that mount it"),
            many("ssh", "default|ID[=SOCKET]", "Lend an ssh agent to steps that mount it"),
            many("add-host", "NAME:ADDRESS", "Add a line to /etc/hosts", check=parse_extra_host),
            switch(
                "host-certs", "Let RUN steps trust this host's certificate authorities (kedge only)"
            ),
            switch("no-host-certs", "Do not, although this host has some of its own"),
            value("memory", "SIZE", "Limit of memory", short="m", check=parse_ram),
            value("memory-swap", "SIZE", "Limit of memory and swap", check=parse_memory_swap),
            value("cpu-shares", "N", "Share of CPU time", short="c", check=integer),
            value("cpu-period", "US", "Period of the CPU quota in microseconds", check=integer),
            value("cpu-quota", "US", "CPU time in a period in microseconds", check=integer),
            value("cpuset-cpus", "LIST", "CPUs to run on"),
            value("cpuset-mems", "LIST", "Memory nodes to use"),
            value("cgroup-parent", "PATH", "Parent cgroup"),
            many("security-opt", "OPTION", "Security option"),
            value("shm-size", "SIZE", "Size of /dev/shm", check=parse_ram),
            many("ulimit", "NAME=SOFT[:HARD]", "Resource limit", check=parse_ulimit),
        ),
        *grouped(
            "Output",
            switch("quiet", "Print the image's id only", short="q"),
            many(
                "output",
                "type=TYPE,dest=PATH",
                "Where the result goes: image, registry, local, tar, oci, docker; DIR or - alone",
                short="o",
                complete="file",
            ),
            value("provenance", "true|mode=max", "Attest what the image was built from"),
            value("sbom", "true|false", "Attest which packages the image holds"),
            many("attest", "type=TYPE,...", "The same as --provenance and --sbom"),
            switch("push", "Push the image to its registry, too"),
            switch("load", "Keep the image in the store beside other outputs"),
            value(
                "progress",
                "auto|plain|tty|rawjson|quiet",
                "How to show progress",
                default="auto",
                complete="|".join(_PROGRESS),
            ),
            value("iidfile", "FILE", "Write the image's id to a file", complete="file"),
            value("metadata-file", "FILE", "Write what was built to a file", complete="file"),
            switch("compress", "Send the context compressed"),
            switch("rm", "Remove intermediate containers (they always are)", default=True),
            switch("force-rm", "Remove them also when a step fails (they always are)"),
        ),
    ),
    run=_run,
    examples=(
        ("kedge build -t my-app .", "Build the Dockerfile in this folder"),
        (
            "kedge build -t my-app --build-arg VERSION=1.2 --target test .",
            "One stage with an argument",
        ),
        (
            "kedge build -f deploy/Dockerfile -t my-app .",
            "Dockerfile and context in different places",
        ),
        ("kedge build https://github.com/docker/hello.git#main:web", "A repository"),
        ("kedge build --debug-shell .", "Look around where a step fails"),
        ("kedge build --check .", "What could be better in a Dockerfile"),
        ("kedge build -o out .", "The files of the image, in a folder"),
        ("kedge build -o type=oci,dest=image.tar .", "The image, as an OCI layout"),
        ("echo 'FROM busybox' | kedge build -t tiny -", "Without a context"),
    ),
    at_least=1,
    at_most=1,
    alone_with="explain-context",
    complete="folder",
)
