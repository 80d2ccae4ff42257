# The same with other arguments, after somebody deleted a file and changed another.
terraform {
  required_providers {
    local  = { source = "hashicorp/local" }
    random = { source = "hashicorp/random" }
    time   = { source = "hashicorp/time" }
  }
  backend "local" {}
}

variable "length" {
  default = 20
}

resource "local_file" "kept" {
  filename = "${path.module}/kept.txt"
  content  = "as it should be"
}

resource "random_password" "main" {
  length = var.length
}

resource "random_pet" "name" {
  keepers = { length = var.length }
}

resource "time_static" "made" {
  triggers = { length = var.length }
}

resource "terraform_data" "login" {
  input = { user = random_pet.name.id, password = random_password.main.result, at = plantimestamp() }
}

data "local_file" "input" {
  filename = "${path.module}/input.txt"
}

resource "terraform_data" "copy" {
  input = data.local_file.input.content
}
