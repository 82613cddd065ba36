from .model_page import certificate_words as certificate_words
from .model_page import curve_figure as curve_figure
from .model_page import matrix_svg as matrix_svg
from .model_page import number as number
from .model_page import write_model_page as write_model_page
from .model_page import write_outcome_page as write_outcome_page
from .survey_page import summarise as summarise
from .survey_page import write_survey_page as write_survey_page
