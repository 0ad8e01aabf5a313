"""Networks: IPAM, bridge driver, endpoints, nftables, published ports."""
