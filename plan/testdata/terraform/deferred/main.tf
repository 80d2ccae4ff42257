# Instances that cannot be known before an apply, and what depends on them.
terraform {
  backend "local" {}
}

resource "terraform_data" "first" {
  input = "a"
}

resource "terraform_data" "later" {
  for_each = toset([terraform_data.first.output])
  input    = each.key
}

resource "terraform_data" "follows" {
  input = { for key, one in terraform_data.later : key => one.id }
}

data "terraform_remote_state" "later" {
  for_each = toset([terraform_data.first.output])
  backend  = "local"
  config   = { path = each.key }
}
