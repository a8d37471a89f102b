"""XMP packet of a product, which marks it as synthetic."""

from __future__ import annotations

from geotrans import __version__

# IPTC's terms for a picture made by a trained network, and for one with such a picture in it.
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_SYNTHETIC, _COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"


_XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
{source_type}    xmp:CreatorTool="geotrans {version}"/>
 </rdf:RDF>
</x:xmpmeta>"""


def xmp_packet(synthetic: float = 1.0) -> str:
    """The XMP packet, which marks a product as synthetic for picture software.

    Args:
        synthetic: Share of what it was made from that a network painted, in [0, 1].
    """
    source_type = ""
    if synthetic > 0:
        kind = _SYNTHETIC if synthetic == 1 else _COMPOSITE
        source_type = f'    Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPES}{kind}"\n'
    return _XMP.format(source_type=source_type, version=__version__)
