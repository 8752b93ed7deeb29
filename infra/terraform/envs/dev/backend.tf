# Where the state lies is told at `terraform init`: see bootstrap/ and the README. Nobody has a key to it.
terraform {
  backend "azurerm" {
    container_name   = "tfstate"
    key              = "dev.tfstate"
    use_azuread_auth = true
  }
}
