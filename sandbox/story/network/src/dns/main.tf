terraform {
  required_version = ">= 1.5"

  backend "local" {}
}

variable "environment_name" {
  type = string
}

variable "records" {
  type        = map(string)
  description = "Names and where they point."
}

# Stands for one DNS record each.
resource "terraform_data" "record" {
  for_each = var.records

  input = {
    zone = "${var.environment_name}.acme.example"
    name = each.key
    to   = each.value
  }
}
