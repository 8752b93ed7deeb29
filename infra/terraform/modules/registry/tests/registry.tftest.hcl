mock_provider "azurerm" {}

variables {
  name                = "controlnet-test"
  resource_group_name = "rg-controlnet-test"
  location            = "westeurope"
  registry_name       = "cntest7f3"
  private_endpoint = {
    subnet_id   = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/snet-endpoints"
    dns_zone_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/privateDnsZones/privatelink.azurecr.io"
  }
}

run "nobody_signs_in_with_a_password" {
  command = plan

  assert {
    condition     = !azurerm_container_registry.this.admin_enabled && !azurerm_container_registry.this.anonymous_pull_enabled
    error_message = "Neither the admin user nor a stranger pulls."
  }
}

run "the_registry_is_private" {
  command = plan

  assert {
    condition     = output.private && azurerm_private_endpoint.this[0].private_service_connection[0].subresource_names == tolist(["registry"])
    error_message = "Images come by the private endpoint."
  }
}

run "the_kubelet_pulls" {
  command = plan

  variables {
    pull_principal_ids = { kubelet = "33333333-3333-3333-3333-333333333333" }
  }

  assert {
    condition     = azurerm_role_assignment.pull["kubelet"].role_definition_name == "AcrPull" && length(azurerm_role_assignment.push) == 0
    error_message = "Who pulls does not push."
  }
}

run "a_standard_registry_is_public" {
  command = plan

  variables {
    sku              = "Standard"
    private_endpoint = null
  }

  assert {
    condition     = !output.private && length(azurerm_private_endpoint.this) == 0 && !azurerm_container_registry.this.zone_redundancy_enabled
    error_message = "Standard knows neither private endpoints nor zones."
  }
}

run "a_private_registry_needs_an_endpoint" {
  command = plan

  variables {
    private_endpoint = null
  }

  expect_failures = [var.private_endpoint]
}

run "a_basic_registry_is_refused" {
  command = plan

  variables {
    sku              = "Basic"
    private_endpoint = null
  }

  expect_failures = [var.sku]
}

run "a_name_with_hyphens_is_refused" {
  command = plan

  variables {
    registry_name = "cn-test"
  }

  expect_failures = [var.registry_name]
}
