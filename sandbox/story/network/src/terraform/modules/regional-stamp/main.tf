# Stands for the virtual network of the stamp.
resource "terraform_data" "network" {
  triggers_replace = [var.location]

  input = {
    name          = "vnet-${var.name}"
    location      = var.location
    address_space = var.address_space
  }
}

# Stands for the service plan that the functions run on.
resource "terraform_data" "service_plan" {
  input = {
    name      = "asp-${var.name}"
    location  = var.location
    instances = var.instances
    network   = terraform_data.network.id
  }
}

# Stands for the gateway in front of the stamp.
resource "terraform_data" "gateway" {
  input = {
    name          = "agw-${var.name}"
    request_limit = var.request_limit * var.instances
  }
}

# Stands for the cache of the stamp, which holds data: a new one begins empty.
resource "terraform_data" "cache" {
  triggers_replace = [var.cache_tier]

  input = {
    name = "redis-${var.name}"
    tier = var.cache_tier
  }
}

# Stands for the time that new instances take until they serve.
resource "terraform_data" "rollout" {
  triggers_replace = [var.instances]

  provisioner "local-exec" {
    command = "sleep ${var.rollout_seconds}"
  }
}
