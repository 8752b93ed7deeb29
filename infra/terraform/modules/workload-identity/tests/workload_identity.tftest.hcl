mock_provider "azurerm" {}

variables {
  name                = "controlnet-test"
  resource_group_name = "rg-controlnet-test"
  location            = "westeurope"
  namespace           = "controlnet"
  service_account     = "serving"
  oidc_issuer_url     = "https://westeurope.oic.prod-aks.azure.com/11111111-1111-1111-1111-111111111111/44444444-4444-4444-4444-444444444444/"
}

run "one_service_account_is_this_identity" {
  command = plan

  assert {
    condition     = azurerm_federated_identity_credential.this.subject == "system:serviceaccount:controlnet:serving"
    error_message = "The subject is the service account's, and no other's."
  }

  assert {
    condition     = azurerm_federated_identity_credential.this.audience == tolist(["api://AzureADTokenExchange"])
    error_message = "A token for something else is no proof."
  }

  assert {
    condition     = azurerm_federated_identity_credential.this.issuer == var.oidc_issuer_url
    error_message = "Another cluster's token is no proof."
  }
}

run "roles_are_those_given" {
  command = plan

  variables {
    roles = {
      artifacts = {
        role  = "Storage Blob Data Contributor"
        scope = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/st/blobServices/default/containers/artifacts"
      }
    }
  }

  assert {
    condition     = toset(keys(azurerm_role_assignment.this)) == toset(["artifacts"]) && endswith(azurerm_role_assignment.this["artifacts"].scope, "/containers/artifacts")
    error_message = "A role reaches as far as its scope."
  }
}

run "nobody_gets_azure_itself" {
  command = plan

  variables {
    roles = { all = { role = "Owner", scope = "/subscriptions/00000000-0000-0000-0000-000000000000" } }
  }

  expect_failures = [var.roles]
}

run "a_wildcard_is_no_service_account" {
  command = plan

  variables {
    service_account = "*"
  }

  expect_failures = [var.service_account]
}

run "a_namespace_that_is_none_is_refused" {
  command = plan

  variables {
    namespace = "Team_A"
  }

  expect_failures = [var.namespace]
}
