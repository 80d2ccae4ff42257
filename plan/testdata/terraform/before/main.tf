# The first state of the fixtures: see ../../regenerate.sh.
terraform {
  backend "local" {}
}

variable "password" {
  type      = string
  sensitive = true
  default   = "correct horse"
}

resource "terraform_data" "region" {
  for_each = toset(["westeurope", "southeast asia"])
  input    = { name = each.key, tags = { env = "dev" }, ports = [80, 443] }
}

resource "terraform_data" "secret" {
  input = { login = "admin", password = var.password }
}

resource "terraform_data" "all_secret" {
  input = sensitive({ a = "hidden-before", b = 1 })
}

resource "terraform_data" "replaced" {
  input            = "same"
  triggers_replace = { version = "1", zone = "a" }
}

resource "terraform_data" "replaced_create_first" {
  triggers_replace = "1"
  lifecycle {
    create_before_destroy = true
  }
}

resource "terraform_data" "follows" {
  input = terraform_data.replaced.id
}

resource "terraform_data" "destroyed" {
  input = "gone soon"
}

resource "terraform_data" "old_name" {
  input = "moves"
}

resource "terraform_data" "forgotten" {
  input = "stays in the world"
}

resource "terraform_data" "unchanged" {
  input = "same"
}

resource "terraform_data" "shapes" {
  input = {
    becomes_empty = { a = 1 }
    goes_away     = { a = 1 }
    was_null      = null
    list          = ["a", "b", "c"]
  }
}

output "kept" {
  value = "same"
}

output "changed" {
  value = "old"
}

output "dropped" {
  value = terraform_data.destroyed.id
}

output "password" {
  value     = var.password
  sensitive = true
}
