# Where logs, metrics and alerts go. Logs are always Azure's; metrics are Azure's or the cluster's own, by one switch.

locals {
  managed    = var.metrics == "managed"
  severities = { page = 1, critical = 1, warning = 2, ticket = 3, info = 4 }
  # Prometheus writes 5m, Azure PT5M, P1D for 1d, and evaluates no oftener than once a minute.
  durations = { for text in distinct(flatten([for group in var.rules : concat([group.interval], compact(group.rules[*].for))])) :
    text => endswith(text, "d") ? "P${upper(text)}" : "PT${upper(text)}"
  }
}

resource "azurerm_log_analytics_workspace" "this" {
  name                         = "log-${var.name}"
  resource_group_name          = var.resource_group_name
  location                     = var.location
  sku                          = "PerGB2018"
  retention_in_days            = var.retention_in_days
  daily_quota_gb               = var.daily_quota_gb
  local_authentication_enabled = false
  tags                         = var.tags
}

resource "azurerm_monitor_action_group" "this" {
  name                = "ag-${var.name}"
  resource_group_name = var.resource_group_name
  short_name          = "controlnet"
  tags                = var.tags

  dynamic "email_receiver" {
    for_each = var.contact_emails
    content {
      name                    = email_receiver.value
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}

resource "azurerm_monitor_workspace" "this" {
  count = local.managed ? 1 : 0

  name                = "amw-${var.name}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_monitor_data_collection_endpoint" "this" {
  count = local.managed ? 1 : 0

  name                = "dce-${var.name}"
  resource_group_name = var.resource_group_name
  location            = var.location
  kind                = "Linux"
  tags                = var.tags
}

resource "azurerm_monitor_data_collection_rule" "prometheus" {
  count = local.managed ? 1 : 0

  name                        = "dcr-${var.name}-prometheus"
  resource_group_name         = var.resource_group_name
  location                    = var.location
  kind                        = "Linux"
  data_collection_endpoint_id = azurerm_monitor_data_collection_endpoint.this[0].id
  tags                        = var.tags

  data_sources {
    prometheus_forwarder {
      name    = "prometheus"
      streams = ["Microsoft-PrometheusMetrics"]
    }
  }

  destinations {
    monitor_account {
      name               = "workspace"
      monitor_account_id = azurerm_monitor_workspace.this[0].id
    }
  }

  data_flow {
    streams      = ["Microsoft-PrometheusMetrics"]
    destinations = ["workspace"]
  }
}

resource "azurerm_dashboard_grafana" "this" {
  count = local.managed ? 1 : 0

  name                          = substr("amg-${replace(var.name, "controlnet", "cn")}", 0, 23)
  resource_group_name           = var.resource_group_name
  location                      = var.location
  grafana_major_version         = "12"
  sku                           = "Standard"
  api_key_enabled               = false
  public_network_access_enabled = var.grafana_public
  tags                          = var.tags

  identity {
    type = "SystemAssigned"
  }

  azure_monitor_workspace_integrations {
    resource_id = azurerm_monitor_workspace.this[0].id
  }
}

resource "azurerm_role_assignment" "grafana_reads" {
  count = local.managed ? 1 : 0

  scope                = azurerm_monitor_workspace.this[0].id
  role_definition_name = "Monitoring Data Reader"
  principal_id         = azurerm_dashboard_grafana.this[0].identity[0].principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "grafana_admins" {
  for_each = local.managed ? var.grafana_admin_object_ids : []

  scope                = azurerm_dashboard_grafana.this[0].id
  role_definition_name = "Grafana Admin"
  principal_id         = each.value
  principal_type       = "Group"
}

resource "azurerm_monitor_alert_prometheus_rule_group" "this" {
  for_each = local.managed ? { for group in var.rules : group.name => group } : {}

  name                = "${var.name}-${each.key}"
  resource_group_name = var.resource_group_name
  location            = var.location
  interval            = endswith(each.value.interval, "s") ? "PT1M" : local.durations[each.value.interval]
  scopes              = [azurerm_monitor_workspace.this[0].id]
  tags                = var.tags

  dynamic "rule" {
    for_each = each.value.rules
    content {
      alert       = rule.value.alert
      record      = rule.value.record
      expression  = rule.value.expr
      for         = rule.value.for == null ? null : local.durations[rule.value.for]
      labels      = rule.value.labels
      annotations = rule.value.alert == null ? null : rule.value.annotations
      severity    = rule.value.alert == null ? null : lookup(local.severities, lookup(rule.value.labels, "severity", "ticket"), 3)

      dynamic "action" {
        for_each = rule.value.alert == null ? [] : [1]
        content {
          action_group_id = azurerm_monitor_action_group.this.id
        }
      }
    }
  }
}
