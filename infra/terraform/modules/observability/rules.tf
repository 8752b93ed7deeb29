# Prometheus' own rules, evaluated by Azure. A file of its own: `for` is a name here, and checkov's parser takes it for
# the keyword and skips the file. trivy reads it.

variable "rules" {
  description = "Rule groups in Prometheus' own form, `yamldecode(file(...)).groups` of ops/prometheus/rules: the same files are loaded in the cluster where Prometheus is there."
  type = list(object({
    name     = string
    interval = optional(string, "1m")
    rules = list(object({
      expr        = string
      alert       = optional(string)
      record      = optional(string)
      for         = optional(string)
      labels      = optional(map(string), {})
      annotations = optional(map(string), {})
    }))
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for group in var.rules : length(group.rules) >= 1 && length(group.rules) <= 20])
    error_message = "rules must have 1 to 20 rules a group: Azure takes no more."
  }

  validation {
    condition     = alltrue(flatten([for group in var.rules : [for rule in group.rules : (rule.alert == null) != (rule.record == null)]]))
    error_message = "rules must each have either alert or record."
  }

  validation {
    condition     = length(distinct(var.rules[*].name)) == length(var.rules)
    error_message = "rules must have one group of a name."
  }

  validation {
    condition = alltrue(flatten([for group in var.rules : [
      for duration in concat([group.interval], compact(group.rules[*].for)) : can(regex("^[0-9]+[smhd]$", duration))
    ]]))
    error_message = "rules must have durations of one unit, such as 30s or 5m."
  }
}

locals {
  severities = { page = 1, critical = 1, warning = 2, ticket = 3, info = 4 }
  # Prometheus writes 5m, Azure PT5M, P1D for 1d. Less than a minute, 0m too, is a minute: Azure evaluates no oftener.
  durations = { for text in distinct(flatten([for group in var.rules : concat([group.interval], compact(group.rules[*].for))])) :
    text => can(regex("^(0+[smhd]|0*[1-5]?[0-9]s)$", text)) ? "PT1M" : endswith(text, "d") ? "P${upper(text)}" : "PT${upper(text)}"
  }
}

resource "azurerm_monitor_alert_prometheus_rule_group" "this" {
  for_each = local.managed ? { for group in var.rules : group.name => group } : {}

  name                = "${var.name}-${each.key}"
  resource_group_name = var.resource_group_name
  location            = var.location
  interval            = local.durations[each.value.interval]
  rule_group_enabled  = true # left unset, the provider sends false
  scopes              = [azurerm_monitor_workspace.this[0].id]
  tags                = var.tags

  dynamic "rule" {
    for_each = each.value.rules
    content {
      enabled     = true # likewise
      alert       = rule.value.alert
      record      = rule.value.record
      expression  = rule.value.expr
      for         = rule.value.alert == null ? null : try(local.durations[rule.value.for], "PT1M") # none, Azure refuses
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
