output "client_id" {
  description = "Client id, for the annotation of the service account."
  value       = azurerm_user_assigned_identity.this.client_id
}

output "principal_id" {
  description = "Object id, for roles."
  value       = azurerm_user_assigned_identity.this.principal_id
}

output "subject" {
  description = "The one service account that may be this identity."
  value       = azurerm_federated_identity_credential.this.subject
}
