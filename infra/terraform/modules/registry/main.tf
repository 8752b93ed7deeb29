# Images, and charts. Nobody signs in with a password.

resource "azurerm_container_registry" "this" {
  #checkov:skip=CKV_AZURE_139:Premium, prod's choice, is private; Standard, dev's, cannot be, and lets in only whom Entra ID knows
  #checkov:skip=CKV_AZURE_165:One region: a second copy of the images is a push away, a second region is not planned
  #checkov:skip=CKV_AZURE_166:Quarantine needs a scanner that lifts it; charts pin images by digest
  #checkov:skip=CKV_AZURE_164:Content trust (v1) is retired, and removed in azurerm 5.0; charts pin images by digest
  #checkov:skip=CKV_AZURE_237:Dedicated data endpoints are for public registries behind egress allow-lists; nodes come by the private one
  #checkov:skip=CKV_AZURE_163:Scanning is Defender's, which is bought for a subscription and not for a registry
  #checkov:skip=CKV_AZURE_233:Set by a variable, on by default for Premium
  name                          = var.registry_name
  resource_group_name           = var.resource_group_name
  location                      = var.location
  sku                           = var.sku
  admin_enabled                 = false
  anonymous_pull_enabled        = false
  retention_policy_in_days      = var.sku == "Premium" ? 30 : null
  network_rule_bypass_option    = "AzureServices" # `az acr import` into a private registry
  zone_redundancy_enabled       = var.sku == "Premium" && var.zone_redundancy_enabled
  public_network_access_enabled = var.sku != "Premium"
  tags                          = var.tags
}

resource "azurerm_private_endpoint" "this" {
  count = var.private_endpoint == null ? 0 : 1

  name                = "pe-${var.name}-registry"
  resource_group_name = var.resource_group_name
  location            = var.location
  subnet_id           = var.private_endpoint.subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = "registry"
    private_connection_resource_id = azurerm_container_registry.this.id
    subresource_names              = ["registry"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [var.private_endpoint.dns_zone_id]
  }
}

resource "azurerm_role_assignment" "pull" {
  for_each = var.pull_principal_ids

  scope                = azurerm_container_registry.this.id
  role_definition_name = "AcrPull"
  principal_id         = each.value
}

resource "azurerm_role_assignment" "push" {
  for_each = var.push_principal_ids

  scope                = azurerm_container_registry.this.id
  role_definition_name = "AcrPush"
  principal_id         = each.value
}
