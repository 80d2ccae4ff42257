# What leads to actions with reasons: instances and modules that go away, and an object that was not made wholly.
terraform {
  backend "local" {}
}

resource "terraform_data" "counted" {
  count = 3
  input = count.index
}

resource "terraform_data" "keyed" {
  for_each = toset(["a", "b"])
  input    = each.key
}

resource "terraform_data" "single" {
  input = 1
}

module "stamp" {
  source   = "./stamp"
  for_each = toset(["westeurope", "southeastasia"])
  region   = each.key
}

module "old" {
  source = "./stamp"
  region = "old"
}

resource "terraform_data" "triggered" {
  triggers_replace = var.version_of_it
  lifecycle {
    create_before_destroy = true
  }
}

variable "version_of_it" {
  default = 1
}

resource "terraform_data" "tainted" {
  count = var.version_of_it - 1
  provisioner "local-exec" {
    command = "exit 1"
  }
}
