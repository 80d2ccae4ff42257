variable "region" {}

data "terraform_remote_state" "hub" {
  backend = "local"
  config  = { path = "${path.root}/remote.tfstate" }
}

resource "terraform_data" "vault" {
  input = { name = "kv-${var.region}", network = data.terraform_remote_state.hub.outputs.network }
}

output "id" {
  value = terraform_data.vault.id
}
