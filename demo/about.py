"""The tab About: the idea, the models on this page, limits, licences, citation."""

from __future__ import annotations

import re

import gradio as gr

from demo.figure import idea_figure
from demo.models import Contender
from medfe.evaluation.html_parts import table
from medfe.inference import shipped_models

CARD = "card.md"
"""Description of shipped weights, beside them."""

IDEA = """
MEDFE ([Liu et al., ECCV 2020](https://arxiv.org/abs/2007.06929)) fills a hole through two features, one for
*structure* and one for *texture*. While it is trained, both are compared with something made of the whole picture. In
MEDFE that is a shrunken picture, which has lost most of what the features could hold. MEDFE+CAE (Gielisse and Katona,
TU Delft 2021) compares them with the codes of convolutional auto-encoders, which are meant to lose almost nothing, and
reports a better FID, from one training of each. Does it help? This project is both networks, and the bench to find
out: by numbers with their uncertainty, by pictures, by people. The tab Results shows what has been measured so far.
"""

LIMITS = """
## Limits

* A filled hole is **invented**. It shows what would be usual there, not what was there: it is no evidence of anything,
  least of all of what a person looks like.
* The shipped models are small, made for 128×128 pixels, and saw only aligned portraits: of anything else they have
  learnt nothing. Larger pictures are filled at the model's size, and the filling is enlarged.
* {groups}
* Pictures on this page compare one training of each model on one photograph: that is an impression, not a measurement.
* L1, PSNR and SSIM ask how near a filling comes to the original; another filling may be just as plausible.

{measured}
## Your pictures

They are kept on the machine that runs this page, in a folder of its own, for about {minutes:g} minutes, at most until
it ends. Nothing is sent elsewhere, nothing is used for training. What you save holds no EXIF data.

## Licences

The code is under the MIT licence. The shipped weights are for non-commercial research only, because the photographs
they were trained on (UTKFace) are. Samples: Eileen Collins (NASA) and Grace Hopper (United States Navy), public domain;
the cat Chelsea (Stéfan van der Walt) and the cup of coffee (Rachel Michetti), CC0.

## Citation

```bibtex
@inproceedings{{liu2020medfe,
  title     = {{Rethinking Image Inpainting via a Mutual Encoder-Decoder with Feature Equalizations}},
  author    = {{Liu, Hongyu and Jiang, Bin and Song, Yibing and Huang, Wei and Yang, Chao}},
  booktitle = {{European Conference on Computer Vision (ECCV)}},
  year      = {{2020}},
  doi       = {{10.1007/978-3-030-58536-5_43}}
}}

@techreport{{gielisse2021cae,
  title       = {{Non-Lossy Ground Truth Comparison via CAE for MEDFE}},
  author      = {{Gielisse, Sander and Katona}},
  institution = {{Delft University of Technology}},
  year        = {{2021}}
}}
```

`CITATION.cff` says how to cite this software.
"""


NOT_MEASURED = (
    "Whether the faces of some people come out worse than those of others, by age or by sex, has not been measured for "
    "these models."
)
MEASURED = "How near a filling comes to the original is not the same for all people: the figures stand below."
_SECTION = re.compile(r"^#+ ", re.MULTILINE)


def build_about(contenders: list[Contender], max_age: float) -> None:
    """Put the tab's contents into the current block.

    Args:
        contenders: the models on the page.
        max_age: seconds that visitors' pictures are kept.
    """
    gr.Markdown("# The idea\n" + IDEA, elem_classes="prose-box")
    gr.HTML(idea_figure(), elem_id="idea", padding=False)
    gr.HTML(f"<h2>The models on this page</h2>{models_table(contenders)}", elem_id="models", padding=False)
    gr.Markdown(limits(contenders, max_age), elem_classes="prose-box")


def limits(contenders: list[Contender], max_age: float) -> str:
    """Return what stands below the models, Markdown: limits, visitors' pictures, licences, citation.

    Args:
        contenders: the models on the page.
        max_age: seconds that visitors' pictures are kept.
    """
    sources = [inpainter.source for _, inpainter in contenders if inpainter.name in shipped_models()]
    cards = dict.fromkeys(source.parent / CARD for source in sources if source is not None)
    found = "".join(errors_by_group(card.read_text(encoding="utf-8")) for card in cards if card.is_file())
    return LIMITS.format(minutes=max_age / 60, groups=MEASURED if found else NOT_MEASURED, measured=found)


def errors_by_group(card: str) -> str:
    """Return the sections of a card of weights that tell errors by age and sex, Markdown; empty if there are none."""
    sections = [section.partition("\n") for section in _SECTION.split(card)[1:]]
    told = [(title, text) for title, _, text in sections if {"age", "sex"} <= set(re.findall(r"\w+", title.lower()))]
    return "".join(f"## {title}\n\n{text.strip()}\n\n" for title, text in told)


def models_table(contenders: list[Contender]) -> str:
    """Return one row a model: its name, arm, size and number of parameters."""
    rows = []
    for title, inpainter in contenders:
        config = inpainter.generator.config
        parameters = sum(parameter.numel() for parameter in inpainter.generator.parameters())
        grid = f"{config.feature_channels}×{config.grid_size}×{config.grid_size}"
        size = f"{config.image_size}×{config.image_size}"
        rows.append([title, inpainter.arm or "–", size, grid, f"{parameters / 1e6:.1f} M"])
    return table(["model", "arm", "pixels", "each feature", "parameters"], rows, words=(0, 1))
