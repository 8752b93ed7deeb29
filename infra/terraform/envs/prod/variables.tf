variable "subscription_id" {
  description = "Subscription that everything is made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.subscription_id))
    error_message = "subscription_id must be a lower-case GUID."
  }
}

variable "tenant_id" {
  description = "Entra tenant that may sign in."
  type        = string
  nullable    = false
}

variable "unique" {
  description = "What makes names unique in all of Azure: 3 to 7 lower-case letters and digits of your own."
  type        = string
  nullable    = false
}

variable "location" {
  description = "Azure region: one with a quota for the GPUs below."
  type        = string
  default     = "westeurope"
  nullable    = false
}

variable "admin_groups" {
  description = "Entra groups that run the platform: object id by display name."
  type        = map(string)
  nullable    = false
}

variable "contact_emails" {
  description = "Who is told of alerts and of money."
  type        = list(string)
  nullable    = false
}

variable "operator_cidrs" {
  description = "Networks, peered or by VPN, from which operators and build agents reach private endpoints."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "postgres_password" {
  description = "Wanted once, when PostgreSQL is made: `export TF_VAR_postgres_password=$(openssl rand -base64 30)`. Nobody needs to know it."
  type        = string
  default     = null
  sensitive   = true
}

variable "tenants_file" {
  description = "YAML that declares the teams under `tenants`; the chart takes the same file."
  type        = string
  default     = "tenants.yaml"
  nullable    = false

  validation {
    condition     = can(yamldecode(file(var.tenants_file)).tenants[*].name)
    error_message = "tenants_file must be a YAML file with a list of teams, each with a name, under tenants."
  }
}

variable "budget" {
  description = "A month's money, in the subscription's currency: for nodes, for the rest, and the first of the month it counts from."
  type = object({
    nodes      = number
    rest       = number
    start_date = string
  })
  nullable = false
}
