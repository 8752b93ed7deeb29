# What it must not cost, and what must not be deleted.

module "budget_nodes" {
  source = "../budget"

  name              = "${local.name}-nodes"
  resource_group_id = module.aks.node_resource_group_id
  amount            = var.budget.nodes
  start_date        = var.budget.start_date
  contact_emails    = var.contact_emails
}

module "budget_rest" {
  source = "../budget"

  name              = "${local.name}-rest"
  resource_group_id = azurerm_resource_group.this.id
  amount            = var.budget.rest
  start_date        = var.budget.start_date
  contact_emails    = var.contact_emails
}

resource "azurerm_management_lock" "data" {
  for_each = var.locked ? {
    storage  = module.storage.id
    database = module.database.id
    vault    = module.keyvault.id
  } : {}

  name       = "holds-data"
  scope      = each.value
  lock_level = "CanNotDelete"
  notes      = "It holds data. docs/azure/tear-down.md says how the lock is taken off."
}
