mock_provider "azurerm" {}

variables {
  name                = "controlnet-test"
  resource_group_name = "rg-controlnet-test"
  location            = "westeurope"
  contact_emails      = ["platform@example.com"]
  rules = [
    {
      name     = "jobs"
      interval = "30s"
      rules = [
        { record = "tenant:cn_jobs:rate5m", expr = "sum by (tenant) (rate(cn_jobs_total[5m]))" },
        {
          alert       = "JobsFail"
          expr        = "sum(rate(cn_jobs_total{state=\"failed\"}[10m])) > 0.1"
          for         = "10m"
          labels      = { severity = "page" }
          annotations = { summary = "Jobs fail." }
        },
        { alert = "NoJobs", expr = "absent(cn_jobs_total)", for = "0m" },
        { alert = "TwoLeaders", expr = "sum(cn_leaders) > 1" },
      ]
    },
  ]
}

run "azure_scrapes_and_draws" {
  command = plan

  assert {
    condition     = length(azurerm_monitor_workspace.this) == 1 && length(azurerm_monitor_data_collection_rule.prometheus) == 1 && length(azurerm_dashboard_grafana.this) == 1
    error_message = "Managed metrics have a workspace, a rule that fills it and a Grafana that reads it."
  }

  assert {
    condition     = azurerm_role_assignment.grafana_reads[0].role_definition_name == "Monitoring Data Reader"
    error_message = "Grafana reads and does not write."
  }
}

run "the_cluster_scrapes_and_draws" {
  command = plan

  variables {
    metrics = "in-cluster"
  }

  assert {
    condition     = length(azurerm_monitor_workspace.this) + length(azurerm_dashboard_grafana.this) + length(azurerm_monitor_alert_prometheus_rule_group.this) + length(azurerm_monitor_data_collection_rule.prometheus) == 0
    error_message = "What the cluster has, Azure has not."
  }

  assert {
    condition     = output.prometheus_rule_id == null && output.grafana_url == null
    error_message = "There is nothing to tie a cluster to."
  }
}

run "alerts_tell_somebody" {
  command = plan

  assert {
    condition     = [for rule in azurerm_monitor_alert_prometheus_rule_group.this["jobs"].rule : length(rule.action)] == [0, 1, 1, 1]
    error_message = "Alerts have an action; recordings have none."
  }

  assert {
    condition     = azurerm_monitor_alert_prometheus_rule_group.this["jobs"].rule[1].severity == 1
    error_message = "What pages is severe."
  }

  assert {
    condition     = [for told in azurerm_monitor_action_group.this.email_receiver : told.email_address] == ["platform@example.com"]
    error_message = "The action reaches the team."
  }
}

run "what_is_written_is_evaluated" {
  command = plan

  assert {
    condition     = azurerm_monitor_alert_prometheus_rule_group.this["jobs"].rule_group_enabled == true && alltrue([for rule in azurerm_monitor_alert_prometheus_rule_group.this["jobs"].rule : rule.enabled == true])
    error_message = "Groups and rules are enabled: unset, the provider sends false."
  }
}

run "durations_are_azures" {
  command = plan

  assert {
    condition     = azurerm_monitor_alert_prometheus_rule_group.this["jobs"].interval == "PT1M" && azurerm_monitor_alert_prometheus_rule_group.this["jobs"].rule[1].for == "PT10M"
    error_message = "Prometheus' 30s and 10m are PT1M (Azure's least) and PT10M."
  }

  assert {
    condition     = [for rule in azurerm_monitor_alert_prometheus_rule_group.this["jobs"].rule : coalesce(rule.for, "none")] == ["none", "PT10M", "PT1M", "PT1M"]
    error_message = "An alert of no wait waits Azure's least; a recording waits for nothing."
  }
}

run "logs_have_no_key_and_an_end" {
  command = plan

  assert {
    condition     = !azurerm_log_analytics_workspace.this.local_authentication_enabled && azurerm_log_analytics_workspace.this.daily_quota_gb == 10
    error_message = "Only Entra ID writes logs, and only so many."
  }
}

run "containers_logs_arrive_whoever_scrapes" {
  command = plan

  variables {
    metrics = "in-cluster"
  }

  assert {
    condition     = azurerm_monitor_data_collection_rule.logs.data_sources[0].extension[0].extension_name == "ContainerInsights"
    error_message = "AKS' agent finds its orders by this name."
  }

  assert {
    condition = alltrue([
      for streams in [azurerm_monitor_data_collection_rule.logs.data_sources[0].extension[0].streams, azurerm_monitor_data_collection_rule.logs.data_flow[0].streams] :
      tolist(streams) == tolist(["Microsoft-ContainerInsights-Group-Default"])
    ])
    error_message = "What is collected is what is sent."
  }

  assert {
    condition     = tolist(azurerm_monitor_data_collection_rule.logs.data_flow[0].destinations) == tolist([azurerm_monitor_data_collection_rule.logs.destinations[0].log_analytics[0].name])
    error_message = "It is sent to the workspace."
  }
}

run "an_unknown_switch_is_refused" {
  command = plan

  variables {
    metrics = "both"
  }

  expect_failures = [var.metrics]
}

run "an_alert_that_tells_nobody_is_refused" {
  command = plan

  variables {
    contact_emails = []
  }

  expect_failures = [var.contact_emails]
}

run "a_short_memory_is_refused" {
  command = plan

  variables {
    retention_in_days = 7
  }

  expect_failures = [var.retention_in_days]
}

run "a_quota_of_nothing_is_refused" {
  command = plan

  variables {
    daily_quota_gb = 0
  }

  expect_failures = [var.daily_quota_gb]
}

run "a_rule_that_is_neither_is_refused" {
  command = plan

  variables {
    rules = [{ name = "jobs", rules = [{ expr = "up == 0" }] }]
  }

  expect_failures = [var.rules]
}
