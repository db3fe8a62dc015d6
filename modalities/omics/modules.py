"""Gene modules known from the literature: what a private model may lean on without touching a patient."""

from collections.abc import Mapping, Sequence

# The PAM50 list (Parker et al., J Clin Oncol 2009) with the older symbols that public tables still use.
PAM50 = {
    "luminal": "ESR1 PGR FOXA1 NAT1 MLPH BCL2 MAPT SLC39A6 CXXC5 GPR160 MDM2 BAG1 MMP11 TMEM45B "
    "BLVRA",
    "HER2": "ERBB2 GRB7 FGFR4",
    "basal": "KRT5 KRT14 KRT17 FOXC1 CDH3 MIA SFRP1 EGFR PHGDH ACTR3B MYC",
    "growth": "MKI67 CCNB1 CCNE1 CDC20 CDC6 CENPF CEP55 EXO1 KIF2C MELK MYBL2 NDC80 KNTC2 NUF2 CDCA1 ORC6 "
    "ORC6L PTTG1 RRM2 TYMS UBE2C UBE2T BIRC5 ANLN",
}  # fmt: skip

# Sets that move together in breast tumours: luminal and apocrine genes of the oestrogen receptor and FOXA1, the
# 17q12 amplicon, basal keratins and neural crest genes, the proliferation metagene, lymphocytes and interferon,
# fat and normal stroma (Perou et al. 2000; Cancer Genome Atlas Network 2012); microRNAs of the same states
# (Blenkiron et al. 2007; Dvinge et al. 2013).
RNA = {
    "luminal": "ESR1 PGR FOXA1 NAT1 MLPH BCL2 MAPT SLC39A6 GPR160 GATA3 XBP1 AGR2 AGR3 TFF1 TFF3 CA12 SPDEF "
    "ANXA9 THSD4 TBC1D9 DNALI1 AR",
    "HER2": "ERBB2 GRB7 STARD3 PGAP3 PERLD1 MIEN1 C17orf37 TCAP PNMT ORMDL3 GSDMB",
    "basal": "KRT5 KRT14 KRT17 KRT6B KRT6A KRT15 KRT16 FOXC1 CDH3 MIA SFRP1 TRIM29 DSC3 SOX10 ROPN1 ROPN1B EN1 "
    "FABP7 GABRP ELF5 VGLL1 ART3",
    "growth": "MKI67 CCNE1 CDC20 CDC6 CEP55 EXO1 KIF2C MELK MYBL2 NDC80 NUF2 ORC6L RRM2 UBE2C BIRC5 ANLN AURKB "
    "BUB1 CCNB2 CDC45 CENPA DLGAP5 FOXM1 HJURP KIF4A NEK2 PLK1 TOP2A TPX2 TTK",
    "immune": "CD79B GZMB CXCL9 CXCL10 CXCL11 IDO1 CD38 LAG3 GBP5 CCL5 CCL8 CD2 CD3D CD8A NKG7 PRF1 STAT1",
    "normal": "ADH1B CFD PLIN1 PLIN4 LIPE AQP7 TIMP4 CD300LG OGN OMD PDK4 TGFBR3 ABCA8 ABCA9 MAMDC2 MFAP4 PAMR1 "
    "TNXB IL33 WIF1",
}  # fmt: skip
MIRNA = {
    "luminal": "mir_190b mir_342 mir_29c mir_10a mir_26a_1 let_7c",
    "basal": "mir_18a mir_135b mir_577 mir_934 mir_9_1 mir_9_2 mir_505",
    "growth": "mir_17 mir_19a mir_20a mir_92a_1 mir_106b mir_93 mir_25 mir_210 mir_21",
}
MODULES: Mapping[str, Mapping[str, str]] = {
    "rna": RNA,
    "mirna": MIRNA,
    "meth": {name: RNA[name] for name in ("luminal", "basal")},  # promoters
}
# What one expects of the correlation of a module's feature with the module: promoters are methylated where
# the genes are silent, and the other assays follow less closely.
MEMBER = {"rna": 0.6, "mirna": 0.3, "meth": -0.3}
KNOWN = frozenset(gene for group in (*PAM50.values(), *RNA.values()) for gene in group.split())
LEAST = 3  # features of a module that the data must have
COARSE = ("luminal", "HER2", "basal", "growth", "normal")


def members(assay: str, symbols: Sequence[str], detail: bool) -> dict[str, list[int]]:
    """Places, among an assay's features, of each module that the assay has enough of.

    Without detail only the modules that separate subtypes; with it all, and the groups of the PAM50 list too.
    """
    modules = dict(MODULES.get(assay, {}))
    if not detail:
        modules = {name: modules[name] for name in COARSE if name in modules}
    elif assay == "rna":
        modules |= {f"PAM50 {name}": genes for name, genes in PAM50.items()}
    place = {_plain(symbol): i for i, symbol in enumerate(symbols)}
    found = {
        name: [place[gene.lower()] for gene in genes.split() if gene.lower() in place]
        for name, genes in modules.items()
    }
    return {name: places for name, places in found.items() if len(places) >= LEAST}


def _plain(symbol: str) -> str:
    """hsa-miR-190b, hsa_mir_190b and MIR190B are not all one: species and hyphens are dropped, no more."""
    return symbol.lower().replace("-", "_").removeprefix("hsa_")
