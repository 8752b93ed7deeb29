# Who is told before the month is too dear. GPU nodes lie in AKS' own resource group: it wants a budget of its own.

resource "azurerm_consumption_budget_resource_group" "this" {
  name              = var.name
  resource_group_id = var.resource_group_id
  amount            = var.amount
  time_grain        = "Monthly"

  time_period {
    start_date = "${var.start_date}T00:00:00Z"
  }

  dynamic "notification" {
    for_each = var.thresholds
    content {
      operator       = "GreaterThanOrEqualTo"
      threshold      = notification.value
      threshold_type = "Actual"
      contact_emails = var.contact_emails
    }
  }

  # Days before it is spent, while something can be done.
  notification {
    operator       = "GreaterThan"
    threshold      = 100
    threshold_type = "Forecasted"
    contact_emails = var.contact_emails
  }
}
