mock_provider "azurerm" {
  source = "../../tests/mocks"
}

variables {
  environment    = "test"
  unique         = "7f3"
  location       = "westeurope"
  tenant_id      = "11111111-1111-1111-1111-111111111111"
  admin_groups   = { platform-admins = "22222222-2222-2222-2222-222222222222" }
  contact_emails = ["platform@example.com"]
  tenants        = ["studio", "design-lab"]
  budget         = { nodes = 1000, rest = 500, start_date = "2026-01-01" }
  gpu_pools = {
    gpu     = {}
    gpuspot = { spot = true }
  }
}

# Applied in the imagination of the mocks: what depends on ids is seen as the charts will see it.
run "helm_is_told_what_it_must_know" {
  command = apply

  assert {
    condition = jsondecode(jsonencode(output.helm_values)) == jsondecode(jsonencode({
      global = {
        registry = "crtest7f3.azurecr.io"
        azure = {
          tenantId         = "11111111-1111-1111-1111-111111111111"
          storageAccount   = "sttest7f3"
          storageContainer = "artifacts"
          keyVaultName     = "kv-test-7f3"
          postgresHost     = "psql-test-7f3.postgres.database.azure.com"
          redisHost        = "redis-test-7f3.westeurope.redis.azure.net"
        }
      }
      serving = { serviceAccount = { clientId = "55555555-5555-5555-5555-555555555555" } }
      mlflow  = { serviceAccount = { clientId = "55555555-5555-5555-5555-555555555555" } }
      teams = {
        design-lab = { clientId = "55555555-5555-5555-5555-555555555555", container = "team-design-lab" }
        studio     = { clientId = "55555555-5555-5555-5555-555555555555", container = "team-studio" }
      }
    }))
    error_message = "The values are those that the chart takes, and no secret is among them."
  }
}

run "an_identity_is_one_service_account" {
  command = plan

  assert {
    condition = output.subjects == {
      serving           = "system:serviceaccount:controlnet:serving"
      mlflow            = "system:serviceaccount:mlflow:mlflow"
      "team-studio"     = "system:serviceaccount:team-studio:tenant"
      "team-design-lab" = "system:serviceaccount:team-design-lab:tenant"
    }
    error_message = "Subjects are the charts' namespaces and service accounts."
  }
}

run "gpu_pools_are_empty_and_tainted" {
  command = plan

  assert {
    condition     = output.protections.gpu_pools_from_zero && output.protections.gpu_pools_tainted && output.protections.gpu_pools_spot == tolist(["gpuspot"])
    error_message = "Regular and spot stand side by side, from zero, each tainted."
  }
}

run "a_platform_without_redis" {
  command = plan

  variables {
    redis = false
  }

  assert {
    condition     = output.helm_values.global.azure.redisHost == "" && !output.protections.ray_memory_in_redis
    error_message = "Without Redis the chart is told of none."
  }
}

run "a_cluster_that_scrapes_sends_its_logs_only" {
  command = plan

  variables {
    metrics = "in-cluster"
  }

  assert {
    condition     = length(azurerm_monitor_data_collection_rule_association.prometheus) == 0
    error_message = "Azure's agent is not there."
  }

  assert {
    condition     = azurerm_monitor_data_collection_rule_association.logs.name == "ContainerInsightsExtension"
    error_message = "Its containers' logs go to Azure all the same."
  }
}

run "nobody_may_open_it_to_everyone" {
  command = plan

  variables {
    private = false
  }

  expect_failures = [var.operator_ips]
}

run "spot_alone_is_refused" {
  command = plan

  variables {
    gpu_pools = { gpuspot = { spot = true } }
  }

  expect_failures = [var.gpu_pools]
}

run "a_team_with_two_hyphens_is_refused" {
  command = plan

  variables {
    tenants = ["design--lab"]
  }

  expect_failures = [var.tenants]
}

run "a_team_declared_twice_is_refused" {
  command = plan

  variables {
    tenants = ["studio", "studio"]
  }

  expect_failures = [var.tenants]
}

run "a_platform_for_nobody_is_refused" {
  command = plan

  variables {
    admin_groups   = {}
    contact_emails = []
  }

  expect_failures = [var.admin_groups, var.contact_emails]
}

run "a_long_suffix_is_refused" {
  command = plan

  variables {
    unique = "controlnet"
  }

  expect_failures = [var.unique]
}

run "one_zone_is_refused" {
  command = plan

  variables {
    zones     = ["1"]
    available = false
  }

  expect_failures = [var.zones]
}

run "a_region_without_zones_may_stop" {
  command = plan

  variables {
    zones = []
  }

  expect_failures = [var.available]
}

run "a_long_environment_is_refused" {
  command = plan

  variables {
    environment = "production"
  }

  expect_failures = [var.environment]
}
