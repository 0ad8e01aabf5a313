"""Which attributes a Compose file may have and what shape each takes.

A shape is written as text, as in the tables below: ``s`` text, ``n`` number, ``i`` integer, ``b``
boolean, ``0`` nothing, ``=a/b`` one of these words, ``[x]`` a list, ``<x>`` a mapping with keys of
the user's own, ``@x`` another shape of `SHAPES`, ``x|y`` either. ``!`` after a name: required.
"""

from typing import Final

_BUILD: Final = """
additional_contexts:@pairs args:@pairs cache_from:[s] cache_to:[s] context:s dockerfile:s
dockerfile_inline:s entitlements:[s] extra_hosts:@hosts isolation:s labels:@pairs network:s
no_cache:b|s no_cache_filter:@texts platforms:[s] privileged:b|s provenance:s|b pull:b|s sbom:s|b
secrets:[s|@file_mount] shm_size:i|s ssh:@pairs tags:[s] target:s ulimits:<i|s|@ulimit>
"""

_SERVICE: Final = """
annotations:@pairs attach:b|s blkio_config:@blkio build:s|@build cap_add:[s] cap_drop:[s]
cgroup:=host/private cgroup_parent:s command:0|s|[s] configs:[s|@file_mount] container_name:s
cpu_count:s|i cpu_percent:s|n cpu_period:n|s cpu_quota:n|s cpu_rt_period:n|s cpu_rt_runtime:n|s
cpu_shares:n|s cpus:n|s cpuset:s credential_spec:@credential_spec depends_on:[s]|<@dependency>
deploy:@deploy|0 develop:@develop|0 device_cgroup_rules:[s] devices:[s|@device] dns:@texts
dns_opt:[s] dns_search:@texts domainname:s entrypoint:0|s|[s] env_file:s|[s|@env_file]
environment:@pairs expose:[s|n] extends:s|@extends external_links:[s] extra_hosts:@hosts
gpus:=all|[@gpu] group_add:[s|n] healthcheck:@healthcheck hostname:s image:s init:b|s ipc:s
isolation:s label_file:@texts labels:@pairs links:[s] logging:@logging mac_address:s mem_limit:n|s
mem_reservation:s|i mem_swappiness:i|s memswap_limit:n|s models:[s]|<@service_model|0>
network_mode:s networks:[s]|<@endpoint|0> oom_kill_disable:b|s oom_score_adj:s|i pid:s|0
pids_limit:n|s platform:s ports:[n|s|@port] post_start:[@hook] pre_start:[@pre_start]
pre_stop:[@hook] privileged:b|s profiles:[s] provider:@provider pull_policy:s pull_refresh_after:s
read_only:b|s restart:s runtime:s scale:i|s secrets:[s|@file_mount] security_opt:[s] shm_size:n|s
stdin_open:b|s stop_grace_period:s stop_signal:s storage_opt:<s|n|b|0> sysctls:@pairs tmpfs:@texts
tty:b|s ulimits:<i|s|@ulimit> use_api_socket:b user:s userns_mode:s uts:s volumes:[s|@mount]
volumes_from:[s] working_dir:s
"""

SHAPES: Final[dict[str, str]] = {
    "project": "version:s name:s include:[s|@include] services:<@service> models:<@model> "
    "networks:<@network|0> volumes:<@volume|0> secrets:<@secret> configs:<@config>",
    "service": _SERVICE,
    "build": _BUILD,
    "blkio": "device_read_bps:[@rate] device_read_iops:[@rate] device_write_bps:[@rate] "
    "device_write_iops:[@rate] weight:i|s weight_device:[@weight]",
    "rate": "path:s rate:i|s",
    "weight": "path:s weight:i|s",
    "credential_spec": "config:s file:s registry:s",
    "dependency": "condition:=service_started/service_healthy/service_completed_successfully "
    "required:b restart:b|s",
    "deploy": "mode:s endpoint_mode:s replicas:i|s labels:@pairs rollback_config:@rollout "
    "update_config:@rollout resources:@resources restart_policy:@restart_policy "
    "placement:@placement",
    "rollout": "parallelism:i|s delay:s failure_action:s monitor:s max_failure_ratio:n|s "
    "order:=start-first/stop-first",
    "resources": "limits:@limits reservations:@reservations",
    "limits": "cpus:n|s memory:s|i pids:i|s",
    "reservations": "cpus:n|s memory:s|i generic_resources:[@generic_resource] "
    "devices:[@device_request]",
    "generic_resource": "discrete_resource_spec:@discrete",
    "discrete": "kind:s value:n|s",
    "device_request": "capabilities!:[s] count:s|i device_ids:[s] driver:s options:@pairs",
    "gpu": "capabilities:[s] count:s|i device_ids:[s] driver:s options:@pairs",
    "restart_policy": "condition:s delay:s max_attempts:i|s window:s",
    "placement": "constraints:[s] preferences:[@preference] max_replicas_per_node:i|s",
    "preference": "spread:s",
    "develop": "watch:[@watch]",
    "watch": "path!:s action!:=rebuild/sync/restart/sync+restart/sync+exec target:s "
    "ignore:@texts include:@texts exec:@hook initial_sync:b",
    "device": "source!:s target:s permissions:s",
    "env_file": "path!:s format:s required:b|s",
    "extends": "service!:s file:s",
    "healthcheck": "disable:b|s interval:s retries:n|s test:s|[s] timeout:s start_period:s "
    "start_interval:s",
    "logging": "driver:s options:<s|n|0>",
    "service_model": "endpoint_var:s model_var:s",
    "endpoint": "aliases:[s] interface_name:s ipv4_address:s ipv6_address:s link_local_ips:[s] "
    "mac_address:s driver_opts:<s|n> priority:n gw_priority:n",
    "port": "name:s mode:s host_ip:s target:i|s published:s|i protocol:s app_protocol:s",
    "hook": "command!:0|s|[s] user:s privileged:b|s working_dir:s environment:@pairs",
    "pre_start": "command:0|s|[s] image:s user:s privileged:b|s working_dir:s "
    "environment:@pairs per_replica:b|s",
    "provider": "type!:s options:<s|n|b|[s|n|b]>",
    "file_mount": "source:s target:s uid:s gid:s mode:n|s",
    "ulimit": "hard!:i|s soft!:i|s",
    "mount": "type!:=bind/volume/tmpfs/cluster/npipe/image source:s target:s read_only:b|s "
    "consistency:s bind:@bind volume:@volume_options tmpfs:@tmpfs image:@image_options",
    "bind": "propagation:s create_host_path:b|s recursive:=enabled/disabled/writable/readonly "
    "selinux:=z/Z",
    "volume_options": "labels:@pairs nocopy:b|s subpath:s",
    "tmpfs": "size:i|s mode:n|s",
    "image_options": "subpath:s",
    "include": "path:@texts env_file:@texts project_directory:s",
    "network": "name:s driver:s driver_opts:<s|n> ipam:@ipam external:b|s|@external "
    "internal:b|s enable_ipv4:b|s enable_ipv6:b|s attachable:b|s labels:@pairs",
    "ipam": "driver:s config:[@pool] options:<s>",
    "pool": "subnet:s ip_range:s gateway:s aux_addresses:<s>",
    "volume": "name:s driver:s driver_opts:<s|n> external:b|s|@external labels:@pairs",
    "secret": "name:s environment:s file:s external:b|s|@external labels:@pairs driver:s "
    "driver_opts:<s|n> template_driver:s",
    "config": "name:s content:s environment:s file:s external:b|s|@external labels:@pairs "
    "template_driver:s",
    "external": "name:s",
    "model": "name:s model!:s context_size:i runtime_flags:[s]",
}
ALIASES: Final = {"pairs": "<s|n|b|0>|[s]", "texts": "s|[s]", "hosts": "<s|[s]>|[s]"}
"""Shapes with a name that are no mapping with fixed keys."""
