"""torch.compile: torch's own function through Inductor."""

import torch

embedding_bag = torch.compile(torch.nn.functional.embedding_bag)
