variable "name" {
  description = "Name of the budget."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,63}$", var.name))
    error_message = "name must be 1 to 63 letters, digits, _ and -."
  }
}

variable "resource_group_id" {
  description = "Resource group that is watched."
  type        = string
  nullable    = false
}

variable "amount" {
  description = "A month's budget, in the currency of the subscription. Nothing is switched off when it is spent."
  type        = number
  nullable    = false

  validation {
    condition     = var.amount > 0
    error_message = "amount must be above 0."
  }
}

variable "start_date" {
  description = "First day of the month from which it counts, `2026-01-01`; Azure takes the current one when the budget is made."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^20[0-9]{2}-(0[1-9]|1[0-2])-01$", var.start_date))
    error_message = "start_date must be the first day of a month, such as 2026-01-01."
  }
}

variable "contact_emails" {
  description = "Who is told."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.contact_emails) > 0 && alltrue([for address in var.contact_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "contact_emails must have at least one address: a budget that tells nobody is none."
  }
}

variable "thresholds" {
  description = "Percentages of the amount that are told of when they are spent."
  type        = set(number)
  default     = [50, 80, 100]
  nullable    = false

  validation {
    condition     = length(var.thresholds) > 0 && length(var.thresholds) <= 4 && alltrue([for percent in var.thresholds : percent > 0 && percent <= 1000])
    error_message = "thresholds must be 1 to 4 percentages of up to 1000: Azure takes five notifications, and the forecast is one."
  }
}
