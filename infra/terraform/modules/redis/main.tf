# The memory of Ray's heads (GCS fault tolerance): a head that restarts finds its actors here.

resource "azurerm_managed_redis" "this" {
  name                      = var.redis_name
  resource_group_name       = var.resource_group_name
  location                  = var.location
  sku_name                  = var.sku_name
  high_availability_enabled = var.high_availability_enabled
  public_network_access     = "Disabled"
  tags                      = var.tags

  default_database {
    # Ray signs in with a password and knows no tokens. The key lands in Terraform's state, which is why that is guarded
    # like a secret (bootstrap/); it opens Ray's tables, from inside the network, and nothing else.
    access_keys_authentication_enabled = true
    client_protocol                    = "Encrypted"
    clustering_policy                  = "NoCluster"  # Ray follows no redirections between shards
    eviction_policy                    = "NoEviction" # a forgotten actor is a lost actor
  }
}

resource "azurerm_private_endpoint" "this" {
  name                = "pe-${var.name}-redis"
  resource_group_name = var.resource_group_name
  location            = var.location
  subnet_id           = var.private_endpoint.subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = "redis"
    private_connection_resource_id = azurerm_managed_redis.this.id
    subresource_names              = ["redisEnterprise"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [var.private_endpoint.dns_zone_id]
  }
}
