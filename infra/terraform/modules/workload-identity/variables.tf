variable "name" {
  description = "Name of the platform in this environment, `controlnet-dev`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, from a letter to a letter or digit."
  }
}

variable "resource_group_name" {
  description = "Resource group that holds everything."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_().-]{0,89}[A-Za-z0-9_()-]$", var.resource_group_name))
    error_message = "resource_group_name must be 1 to 90 letters, digits, and _ ( ) . -, not ending in a dot."
  }
}

variable "location" {
  description = "Azure region, `westeurope`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location must be the region's short name, such as westeurope."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
  nullable    = false
}


variable "namespace" {
  description = "Kubernetes namespace of the service account."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace must be a DNS label."
  }
}

variable "service_account" {
  description = "Kubernetes service account that may be this identity: one, in one namespace."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.service_account))
    error_message = "service_account must be a DNS label."
  }
}

variable "oidc_issuer_url" {
  description = "Issuer of the cluster's tokens."
  type        = string
  nullable    = false
}

variable "roles" {
  description = "What the identity may do: a role and its scope, by a name of your choice."
  type = map(object({
    role  = string
    scope = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(setintersection([for grant in var.roles : grant.role], ["Owner", "Contributor", "User Access Administrator"])) == 0
    error_message = "roles must not hand out Azure itself: no workload is Owner, Contributor or User Access Administrator."
  }
}
