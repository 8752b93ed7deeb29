mock_provider "azurerm" {
  source = "../../tests/mocks"
}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
  tenant_id       = "11111111-1111-1111-1111-111111111111"
  unique          = "7f3"
  admin_groups    = { platform-admins = "22222222-2222-2222-2222-222222222222" }
  contact_emails  = ["platform@example.com"]
  operator_cidrs  = ["10.200.0.0/24"]
  budget          = { nodes = 20000, rest = 3000, start_date = "2026-01-01" }
  tenants_file    = "tests/tenants.yaml"
}

run "prod_is_made_whole" {
  command = apply

  assert {
    condition     = toset(keys(output.helm_values.teams)) == toset(["studio", "design-lab"])
    error_message = "Every declared team has an identity and a container."
  }

  assert {
    condition     = output.helm_values.global.azure.redisHost == "redis-test-7f3.westeurope.redis.azure.net"
    error_message = "Ray's heads keep their memory in Redis."
  }

  assert {
    condition     = output.grafana_url == "https://amg.weu.grafana.azure.com"
    error_message = "Azure draws."
  }
}

run "prod_has_no_public_address" {
  command = plan

  assert {
    condition     = output.protections.api_server_private && output.protections.registry_private && output.protections.vault_private
    error_message = "API server, registry and vault are private."
  }

  assert {
    condition     = output.protections.storage_private && output.protections.database_private && output.protections.redis_private
    error_message = "What holds data is private."
  }
}

run "prod_has_no_keys" {
  command = plan

  assert {
    condition     = output.protections.local_accounts_off && output.protections.storage_keyless
    error_message = "Neither the cluster nor the account can be opened with a key."
  }
}

run "prod_does_not_stop" {
  command = plan

  assert {
    condition     = output.protections.control_plane_tier == "Standard" && output.protections.database_standby && output.protections.ray_memory_in_redis
    error_message = "The control plane has an SLA, PostgreSQL a standby, Ray a memory."
  }
}

run "prod_loses_nothing" {
  command = plan

  assert {
    condition     = output.protections.locks == tolist(["database", "storage", "vault"]) && output.protections.vault_purge_protect
    error_message = "What holds data is locked, and the vault cannot be purged."
  }
}

run "prod_pays_for_gpus_in_use" {
  command = plan

  assert {
    condition     = output.protections.gpu_pools_from_zero && output.protections.gpu_pools_tainted && output.protections.gpu_pools_spot == tolist(["gpuspot"])
    error_message = "GPU pools, regular and spot, start from zero and keep CPU work off."
  }
}

run "teams_that_are_nowhere_are_refused" {
  command = plan

  variables {
    tenants_file = "nowhere.yaml"
  }

  expect_failures = [var.tenants_file]
}

run "a_subscription_that_is_no_guid_is_refused" {
  command = plan

  variables {
    subscription_id = "my subscription"
  }

  expect_failures = [var.subscription_id]
}
