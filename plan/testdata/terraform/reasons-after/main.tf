# The same after it lost instances, a module, and a count.
terraform {
  backend "local" {}
}

resource "terraform_data" "counted" {
  count = 1
  input = count.index
}

resource "terraform_data" "keyed" {
  for_each = toset(["a"])
  input    = each.key
}

resource "terraform_data" "single" {
  count = 2
  input = 1
}

module "stamp" {
  source   = "./stamp"
  for_each = toset(["westeurope"])
  region   = "${each.key}-2"
}

resource "terraform_data" "triggered" {
  triggers_replace = 2
  lifecycle {
    create_before_destroy = true
  }
}

resource "terraform_data" "tainted" {
  count = 1
}

output "vaults" {
  value = { for region, stamp in module.stamp : region => stamp.id }
}
