mock_provider "azurerm" {}

variables {
  name                = "controlnet-test"
  resource_group_name = "rg-controlnet-test"
  location            = "westeurope"
  redis_name          = "redis-cntest7f3"
  private_endpoint = {
    subnet_id   = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/snet-endpoints"
    dns_zone_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/privateDnsZones/privatelink.redis.azure.net"
  }
}

run "redis_is_private" {
  command = plan

  assert {
    condition     = output.private && azurerm_private_endpoint.this.private_service_connection[0].subresource_names == tolist(["redisEnterprise"])
    error_message = "Redis has no public address."
  }
}

run "connections_are_encrypted" {
  command = plan

  assert {
    condition     = azurerm_managed_redis.this.default_database[0].client_protocol == "Encrypted"
    error_message = "The key is not sent in the clear."
  }
}

run "nothing_is_forgotten" {
  command = plan

  assert {
    condition     = azurerm_managed_redis.this.default_database[0].eviction_policy == "NoEviction" && azurerm_managed_redis.this.high_availability_enabled
    error_message = "Ray's tables are no cache."
  }
}

run "ray_can_speak_to_it" {
  command = plan

  assert {
    condition     = azurerm_managed_redis.this.default_database[0].clustering_policy == "NoCluster" && azurerm_managed_redis.this.default_database[0].access_keys_authentication_enabled
    error_message = "Ray signs in with a password and follows no redirections."
  }
}

run "a_clustered_size_is_refused" {
  command = plan

  variables {
    sku_name = "Balanced_B100"
  }

  expect_failures = [var.sku_name]
}

run "a_name_with_two_hyphens_is_refused" {
  command = plan

  variables {
    redis_name = "redis--test"
  }

  expect_failures = [var.redis_name]
}
