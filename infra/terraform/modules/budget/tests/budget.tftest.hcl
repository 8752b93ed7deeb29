mock_provider "azurerm" {}

variables {
  name              = "controlnet-test-nodes"
  resource_group_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-controlnet-test-nodes"
  amount            = 1000
  start_date        = "2026-01-01"
  contact_emails    = ["platform@example.com"]
}

run "what_is_spent_is_told" {
  command = plan

  assert {
    condition     = toset([for told in azurerm_consumption_budget_resource_group.this.notification : told.threshold if told.threshold_type == "Actual"]) == toset([50, 80, 100])
    error_message = "Half, most and all of it are told of."
  }

  assert {
    condition     = alltrue([for told in azurerm_consumption_budget_resource_group.this.notification : length(told.contact_emails) == 1])
    error_message = "Somebody is told."
  }
}

run "what_will_be_spent_is_told" {
  command = plan

  assert {
    condition     = length([for told in azurerm_consumption_budget_resource_group.this.notification : told if told.threshold_type == "Forecasted"]) == 1
    error_message = "A forecast leaves days to act in."
  }
}

run "a_budget_that_tells_nobody_is_refused" {
  command = plan

  variables {
    contact_emails = []
  }

  expect_failures = [var.contact_emails]
}

run "the_middle_of_a_month_is_refused" {
  command = plan

  variables {
    start_date = "2026-01-15"
  }

  expect_failures = [var.start_date]
}

run "a_budget_of_nothing_is_refused" {
  command = plan

  variables {
    amount = 0
  }

  expect_failures = [var.amount]
}

run "more_thresholds_than_azure_takes_are_refused" {
  command = plan

  variables {
    thresholds = [10, 20, 30, 40, 50]
  }

  expect_failures = [var.thresholds]
}
