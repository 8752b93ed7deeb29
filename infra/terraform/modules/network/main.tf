# One network: nodes, the API server's own subnet, private endpoints, PostgreSQL. What leaves it leaves by one address.

locals {
  # nodes and GPU nodes /22 (1,019 each), endpoints /24, PostgreSQL /26, API server /28 - of a /16.
  prefixes = zipmap(
    ["nodes", "gpu", "endpoints", "postgres", "apiserver"],
    cidrsubnets(var.address_space, 6, 6, 8, 10, 12),
  )

  delegations = {
    apiserver = {
      service = "Microsoft.ContainerService/managedClusters"
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
    postgres = {
      service = "Microsoft.DBforPostgreSQL/flexibleServers"
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }

  # Pods reach these by their node's address: the overlay hides theirs.
  callers = concat([local.prefixes.nodes, local.prefixes.gpu], sort(var.operator_cidrs))
  guarded = {
    endpoints = { ports = ["443", "10000"], callers = local.callers } # 10000: Managed Redis
    postgres  = { ports = ["5432"], callers = local.callers }
  }

  zones = {
    blob     = "privatelink.blob.core.windows.net"
    vault    = "privatelink.vaultcore.azure.net"
    registry = "privatelink.azurecr.io"
    redis    = "privatelink.redis.azure.net"
    postgres = "${var.name}.private.postgres.database.azure.com"
  }
}

resource "azurerm_virtual_network" "this" {
  name                = "vnet-${var.name}"
  resource_group_name = var.resource_group_name
  location            = var.location
  address_space       = [var.address_space]
  tags                = var.tags
}

resource "azurerm_subnet" "this" {
  for_each = local.prefixes

  name                            = "snet-${each.key}"
  resource_group_name             = var.resource_group_name
  virtual_network_name            = azurerm_virtual_network.this.name
  address_prefixes                = [each.value]
  default_outbound_access_enabled = false
  # Without it the rules below are not applied to private endpoints.
  private_endpoint_network_policies = each.key == "endpoints" ? "Enabled" : "Disabled"

  dynamic "delegation" {
    for_each = contains(keys(local.delegations), each.key) ? [local.delegations[each.key]] : []
    content {
      name = "delegation"
      service_delegation {
        name    = delegation.value.service
        actions = delegation.value.actions
      }
    }
  }
}

# Where no rule is written, Azure's own hold: the network and load balancers may come in, the internet may not.
resource "azurerm_network_security_group" "this" {
  for_each = local.prefixes

  name                = "nsg-${var.name}-${each.key}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_network_security_rule" "callers" {
  for_each = local.guarded

  name                        = "callers-in"
  description                 = "Nodes and operators may call what lies here."
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.this[each.key].name
  priority                    = 100
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_address_prefixes     = each.value.callers
  source_port_range           = "*"
  destination_address_prefix  = local.prefixes[each.key]
  destination_port_ranges     = each.value.ports
}

resource "azurerm_network_security_rule" "standby" {
  name                        = "standby-in"
  description                 = "PostgreSQL and its standby speak to each other: Azure asks for both ports."
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.this["postgres"].name
  priority                    = 110
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_address_prefix       = local.prefixes.postgres
  source_port_range           = "*"
  destination_address_prefix  = local.prefixes.postgres
  destination_port_ranges     = ["5432", "6432"]
}

resource "azurerm_network_security_rule" "nobody_else" {
  for_each = local.guarded

  name                        = "nobody-else-in"
  description                 = "Peered networks are part of VirtualNetwork, which Azure's own rule lets in."
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.this[each.key].name
  priority                    = 4000
  direction                   = "Inbound"
  access                      = "Deny"
  protocol                    = "*"
  source_address_prefix       = "*"
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_range      = "*"
}

resource "azurerm_subnet_network_security_group_association" "this" {
  for_each = local.prefixes

  subnet_id                 = azurerm_subnet.this[each.key].id
  network_security_group_id = azurerm_network_security_group.this[each.key].id
}

resource "azurerm_public_ip" "egress" {
  name                = "pip-${var.name}-egress"
  resource_group_name = var.resource_group_name
  location            = var.location
  allocation_method   = "Static"
  sku                 = "Standard"
  zones               = var.nat_zone == null ? null : [var.nat_zone]
  tags                = var.tags
}

resource "azurerm_nat_gateway" "this" {
  name                = "ng-${var.name}"
  resource_group_name = var.resource_group_name
  location            = var.location
  sku_name            = "Standard"
  zones               = var.nat_zone == null ? null : [var.nat_zone]
  tags                = var.tags
}

resource "azurerm_nat_gateway_public_ip_association" "this" {
  nat_gateway_id       = azurerm_nat_gateway.this.id
  public_ip_address_id = azurerm_public_ip.egress.id
}

resource "azurerm_subnet_nat_gateway_association" "this" {
  for_each = toset(["nodes", "gpu"])

  subnet_id      = azurerm_subnet.this[each.key].id
  nat_gateway_id = azurerm_nat_gateway.this.id
}

resource "azurerm_private_dns_zone" "this" {
  for_each = local.zones

  name                = each.value
  resource_group_name = var.resource_group_name
  tags                = var.tags
}

# 5.0 takes the zone's id instead of these two names; no 4.x takes it, so the change will be here and nowhere else.
resource "azurerm_private_dns_zone_virtual_network_link" "this" {
  for_each = local.zones

  name                  = "vnet-${var.name}"
  resource_group_name   = var.resource_group_name
  private_dns_zone_name = azurerm_private_dns_zone.this[each.key].name
  virtual_network_id    = azurerm_virtual_network.this.id
  tags                  = var.tags
}
