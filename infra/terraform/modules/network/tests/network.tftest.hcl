mock_provider "azurerm" {}

variables {
  name                = "controlnet-test"
  resource_group_name = "rg-controlnet-test"
  location            = "westeurope"
}

run "subnets_do_not_overlap" {
  command = plan

  assert {
    condition = output.subnet_prefixes == tomap({
      nodes     = "10.64.0.0/22"
      gpu       = "10.64.4.0/22"
      endpoints = "10.64.8.0/24"
      postgres  = "10.64.9.0/26"
      apiserver = "10.64.9.64/28"
    })
    error_message = "The subnets of a /16 are where the README says they are."
  }
}

run "the_api_server_has_a_subnet_of_its_own" {
  command = plan

  assert {
    condition     = azurerm_subnet.this["apiserver"].delegation[0].service_delegation[0].name == "Microsoft.ContainerService/managedClusters"
    error_message = "The API server's subnet is delegated to AKS."
  }
}

run "postgres_has_a_subnet_of_its_own" {
  command = plan

  assert {
    condition     = azurerm_subnet.this["postgres"].delegation[0].service_delegation[0].name == "Microsoft.DBforPostgreSQL/flexibleServers"
    error_message = "PostgreSQL's subnet is delegated to it."
  }
}

run "every_subnet_is_guarded" {
  command = plan

  assert {
    condition     = toset(keys(azurerm_subnet_network_security_group_association.this)) == toset(keys(azurerm_subnet.this))
    error_message = "Every subnet has a network security group."
  }

  assert {
    condition     = alltrue([for subnet in azurerm_subnet.this : !subnet.default_outbound_access_enabled])
    error_message = "Nothing leaves but by the NAT gateway."
  }
}

run "rules_hold_for_private_endpoints" {
  command = plan

  assert {
    condition     = azurerm_subnet.this["endpoints"].private_endpoint_network_policies == "Enabled"
    error_message = "Without network policies, security rules are not applied to private endpoints."
  }
}

run "only_nodes_reach_data" {
  command = plan

  assert {
    condition     = azurerm_network_security_rule.callers["endpoints"].source_address_prefixes == toset(["10.64.0.0/22", "10.64.4.0/22"])
    error_message = "Private endpoints are for the nodes."
  }

  assert {
    condition     = azurerm_network_security_rule.callers["postgres"].destination_port_ranges == toset(["5432"])
    error_message = "PostgreSQL answers on one port."
  }

  assert {
    condition     = azurerm_network_security_rule.callers["postgres"].source_address_prefixes == toset(["10.64.0.0/22", "10.64.4.0/22"])
    error_message = "PostgreSQL is for the nodes."
  }

  assert {
    condition     = alltrue([for rule in azurerm_network_security_rule.nobody_else : rule.access == "Deny" && rule.source_address_prefix == "*"])
    error_message = "Everyone else is refused, peered networks too."
  }
}

run "a_standby_is_reached" {
  command = plan

  assert {
    condition     = azurerm_network_security_rule.standby.access == "Allow" && azurerm_network_security_rule.standby.destination_port_ranges == toset(["5432", "6432"])
    error_message = "High availability needs both ports within the subnet."
  }

  assert {
    condition     = azurerm_network_security_rule.standby.source_address_prefix == "10.64.9.0/26" && azurerm_network_security_rule.standby.destination_address_prefix == "10.64.9.0/26"
    error_message = "And only there."
  }

  assert {
    condition     = azurerm_network_security_rule.standby.priority < azurerm_network_security_rule.nobody_else["postgres"].priority
    error_message = "Before everyone else is refused."
  }
}

run "operators_come_in_where_named" {
  command = plan

  variables {
    operator_cidrs = ["10.200.0.0/24"]
  }

  assert {
    condition     = contains(azurerm_network_security_rule.callers["endpoints"].source_address_prefixes, "10.200.0.0/24")
    error_message = "An operator's network reaches private endpoints."
  }
}

run "nodes_leave_by_the_nat_gateway" {
  command = plan

  assert {
    condition     = toset(keys(azurerm_subnet_nat_gateway_association.this)) == toset(["nodes", "gpu"])
    error_message = "Nodes have one way out."
  }
}

run "every_zone_is_linked" {
  command = plan

  assert {
    condition     = toset(keys(azurerm_private_dns_zone_virtual_network_link.this)) == toset(["blob", "vault", "registry", "redis", "postgres"])
    error_message = "A private zone without a link resolves to the public address."
  }
}

run "a_small_network_is_refused" {
  command = plan

  variables {
    address_space = "10.64.0.0/20"
  }

  expect_failures = [var.address_space]
}

run "the_internet_is_no_operator" {
  command = plan

  variables {
    operator_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.operator_cidrs]
}

run "a_zone_that_is_none_is_refused" {
  command = plan

  variables {
    nat_zone = "4"
  }

  expect_failures = [var.nat_zone]
}

run "a_bad_name_is_refused" {
  command = plan

  variables {
    name = "ControlNet"
  }

  expect_failures = [var.name]
}
