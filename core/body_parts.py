"""Body parts: DICOM's terms, their codes, and which of them have a side."""

from collections.abc import Mapping

BODY_PART = "[A-Z0-9 _]{1,16}"  # as a DICOM code string
# Body Part Examined (PS3.16 annex L) -> its code
REGIONS: Mapping[str, tuple[str, str, str]] = {
    "ABDOMEN": ("818981001", "SCT", "Abdomen"),
    "ABDOMENPELVIS": ("818982008", "SCT", "Abdomen and Pelvis"),
    "BRAIN": ("12738006", "SCT", "Brain"),
    "BREAST": ("76752008", "SCT", "Breast"),
    "CHEST": ("816094009", "SCT", "Chest"),
    "CHESTABDPELVIS": ("416775004", "SCT", "Chest, Abdomen and Pelvis"),
    "CSPINE": ("122494005", "SCT", "Cervical spine"),
    "EYE": ("81745001", "SCT", "Eye"),
    "HEAD": ("69536005", "SCT", "Head"),
    "HEART": ("80891009", "SCT", "Heart"),
    "LSPINE": ("122496007", "SCT", "Lumbar spine"),
    "NECK": ("45048000", "SCT", "Neck"),
    "PANCREAS": ("15776009", "SCT", "Pancreas"),
    "PELVIS": ("816092008", "SCT", "Pelvis"),
    "PROSTATE": ("41216001", "SCT", "Prostate"),
    "SKIN": ("39937001", "SCT", "Skin"),
    "SKULL": ("89546000", "SCT", "Skull"),
    "SPINE": ("421060004", "SCT", "Spine"),
    "TSPINE": ("122495006", "SCT", "Thoracic spine"),
    "WHOLEBODY": ("38266002", "SCT", "Entire body"),
}
# Without a side, so that Laterality must be absent; of all others the side may be unknown.
_MORE_UNPAIRED = (
    "AORTA BACK BLADDER CEREBELLUM CERVIX CHESTABDOMEN CIRCLEOFWILLIS COCCYX COLON CORONARYARTERY "
    "CTSPINE DUODENUM ESOPHAGUS FACE GALLBLADDER HEADNECK ILEUM ILIUM JAW JEJUNUM LARYNX LIVER "
    "LSSPINE MAXILLA MEDIASTINUM MOUTH NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE PENIS "
    "PHARYNX RECTUM SCALP SPLEEN SSPINE STERNUM STOMACH THYMUS THYROID TLSPINE TONGUE TRACHEA UTERUS "
    "VAGINA VULVA"
)
UNPAIRED = frozenset((*REGIONS, *_MORE_UNPAIRED.split())) - {"BREAST", "EYE"}
# No defined term of Body Part Examined, and readers take it for one of a pair
CODE_ONLY = frozenset({"SKIN"})
