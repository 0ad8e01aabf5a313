from tests.unit.runtime_cgroups.fake_host import host, v1_host, v2_host

__all__ = ["host", "v1_host", "v2_host"]
