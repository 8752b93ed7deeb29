output "subnet_ids" {
  description = "Ids of the subnets: nodes, gpu, apiserver, endpoints, postgres."
  value       = { for key, subnet in azurerm_subnet.this : key => subnet.id }
  # A cluster that starts before its way out exists never becomes ready.
  depends_on = [
    azurerm_nat_gateway_public_ip_association.this,
    azurerm_network_security_rule.callers,
    azurerm_network_security_rule.nobody_else,
    azurerm_subnet_nat_gateway_association.this,
    azurerm_subnet_network_security_group_association.this,
  ]
}

output "subnet_prefixes" {
  description = "CIDRs of the subnets."
  value       = local.prefixes
}

output "private_dns_zone_ids" {
  description = "Ids of the private DNS zones: blob, vault, registry, redis, postgres."
  value       = { for key, zone in azurerm_private_dns_zone.this : key => zone.id }
  # PostgreSQL refuses a zone that no network is linked to.
  depends_on = [azurerm_private_dns_zone_virtual_network_link.this]
}

output "egress_ip" {
  description = "The one address that everything leaves by: for the allow-lists of others."
  value       = azurerm_public_ip.egress.ip_address
}
